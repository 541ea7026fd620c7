package gateway

import (
	"context"

	"connectrpc.com/connect"

	"github.com/assent-network/assent/node/api"
	assentv1 "github.com/assent-network/assent/node/api/assent/v1"
	"github.com/assent-network/assent/node/api/assent/v1/assentv1connect"
	"github.com/assent-network/assent/node/redact"
)

type deliveryService struct{ *Server }

var _ assentv1connect.DeliveryServiceHandler = deliveryService{}

func (s deliveryService) PutSealedPart(ctx context.Context, req *connect.Request[assentv1.PutSealedPartRequest]) (*connect.Response[assentv1.PutSealedPartResponse], error) {
	if s.cfg.Delivery == nil {
		return nil, notServed()
	}
	m := req.Msg
	var f form
	f.name("consent_id", m.ConsentId)
	f.name("recipient", m.Recipient)
	f.size("sealed", len(m.Sealed), 1, api.MaxSealedBytes)
	if m.Version == 0 {
		f.refuse("version is missing: the first is 1")
	}
	if f.err != nil {
		return nil, f.err
	}
	p := SealedPart{ConsentID: m.ConsentId, Version: m.Version, Recipient: m.Recipient, Sealed: m.Sealed}
	if err := s.cfg.Delivery.PutSealedPart(ctx, callOf(ctx).caller, p); err != nil {
		return nil, err
	}
	return connect.NewResponse(&assentv1.PutSealedPartResponse{}), nil
}

func (s deliveryService) AwaitAnswer(ctx context.Context, req *connect.Request[assentv1.AwaitAnswerRequest]) (*connect.Response[assentv1.AwaitAnswerResponse], error) {
	if s.cfg.Delivery == nil {
		return nil, notServed()
	}
	var f form
	f.hash("request_id", req.Msg.RequestId)
	wait := f.wait("timeout_ms", req.Msg.TimeoutMs)
	if f.err != nil {
		return nil, f.err
	}
	envelope, err := s.cfg.Delivery.AwaitAnswer(ctx, callOf(ctx).caller, req.Msg.RequestId, wait)
	if err != nil {
		return nil, err
	}
	return connect.NewResponse(&assentv1.AwaitAnswerResponse{Envelope: envelope}), nil
}

type providerService struct{ *Server }

var _ assentv1connect.ProviderServiceHandler = providerService{}

func (s providerService) Bind(ctx context.Context, req *connect.Request[assentv1.BindRequest]) (*connect.Response[assentv1.BindResponse], error) {
	if s.cfg.Provider == nil {
		return nil, notServed()
	}
	var f form
	f.size("subject", len(req.Msg.Subject), 1, api.MaxSubjectBytes)
	wallet := f.address("wallet", req.Msg.Wallet)
	if f.err != nil {
		return nil, f.err
	}
	if err := s.cfg.Provider.Bind(ctx, redact.NewPersonal(req.Msg.Subject), wallet); err != nil {
		return nil, err
	}
	return connect.NewResponse(&assentv1.BindResponse{}), nil
}

func (s providerService) Unbind(ctx context.Context, req *connect.Request[assentv1.UnbindRequest]) (*connect.Response[assentv1.UnbindResponse], error) {
	if s.cfg.Provider == nil {
		return nil, notServed()
	}
	var f form
	f.size("subject", len(req.Msg.Subject), 1, api.MaxSubjectBytes)
	if f.err != nil {
		return nil, f.err
	}
	if err := s.cfg.Provider.Unbind(ctx, redact.NewPersonal(req.Msg.Subject)); err != nil {
		return nil, err
	}
	return connect.NewResponse(&assentv1.UnbindResponse{}), nil
}

func (s providerService) BindConsent(ctx context.Context, req *connect.Request[assentv1.BindConsentRequest]) (*connect.Response[assentv1.BindConsentResponse], error) {
	if s.cfg.Provider == nil {
		return nil, notServed()
	}
	var f form
	f.name("consent_id", req.Msg.ConsentId)
	f.size("subject", len(req.Msg.Subject), 1, api.MaxSubjectBytes)
	if f.err != nil {
		return nil, f.err
	}
	if err := s.cfg.Provider.BindConsent(ctx, req.Msg.ConsentId, redact.NewPersonal(req.Msg.Subject)); err != nil {
		return nil, err
	}
	return connect.NewResponse(&assentv1.BindConsentResponse{}), nil
}

func (s providerService) CheckTemplate(ctx context.Context, req *connect.Request[assentv1.CheckTemplateRequest]) (*connect.Response[assentv1.CheckTemplateResponse], error) {
	if s.cfg.Provider == nil {
		return nil, notServed()
	}
	var f form
	f.size("template_json", len(req.Msg.TemplateJson), 2, api.MaxTemplateBytes)
	if f.err != nil {
		return nil, f.err
	}
	report, err := s.cfg.Provider.CheckTemplate(ctx, []byte(req.Msg.TemplateJson))
	if err != nil {
		return nil, err
	}
	resp := &assentv1.CheckTemplateResponse{Columns: report.Columns}
	for _, x := range report.Findings {
		severity := assentv1.Severity_SEVERITY_ERROR
		if x.Warning {
			severity = assentv1.Severity_SEVERITY_WARNING
		}
		resp.Findings = append(resp.Findings, &assentv1.Finding{
			Severity: severity, Field: x.Field, Line: x.Line, Column: x.Column, What: x.What, Remedy: x.Remedy,
		})
	}
	return connect.NewResponse(resp), nil
}
