package wallet

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/assent-network/assent/chaincode/record"
)

// Line is one thing to know before signing.
type Line struct {
	Label string // English and Chinese
	Text  string
}

// Explain says in plain words what terms mean. names are the lender's titles for
// organisations, product and templates; they decide nothing.
func Explain(t *record.ConsentTerms, names map[string]string) []Line {
	title := func(kind, id string) string {
		if n := names[kind+"/"+id]; n != "" {
			return fmt.Sprintf("%s (%s)", n, id)
		}
		return id
	}
	lender, bank := title("org", string(t.Consumer())), title("org", string(t.Provider()))
	var questions []string
	for _, id := range t.TemplateIDs {
		questions = append(questions, title("template", string(id)))
	}
	lines := []Line{
		{"In short 摘要", fmt.Sprintf("%s may put the questions below to %s about you. It gets answers, not your data. You can withdraw at any time.", lender, bank)},
		{"Who asks 查询方", lender},
		{"Who answers 数据提供方", bank},
		{"Data product 数据产品", title("product", string(t.ProductID))},
		{"Questions 查询模板", strings.Join(questions, "; ")},
		{"Purposes 用途", purposes(t.Purposes)},
	}
	if len(t.DeclinedPurposes) > 0 {
		lines = append(lines, Line{"Not for 不同意的用途", purposes(t.DeclinedPurposes)})
	}
	return append(lines,
		Line{"Kind of data 数据类别", dataClasses(t.DataClasses)},
		Line{"Kind of answer 处理方式", kinds(t.ProcessingMethods)},
		Line{"Decided by a machine 自动化决策", yesNo(t.AutomatedDecision, "yes 是: the answer feeds a decision made without a person; you may ask for one 可要求人工复核", "no 否")},
		Line{"From 生效", day(t.ValidFrom)},
		Line{"Until 失效", day(t.ExpirationDateTime)},
		Line{"How often 使用次数", fmt.Sprintf("at most %d in all 共, %d a day 每日", t.AccessLimits.MaxUses, t.AccessLimits.FrequencyPerDay)},
		Line{"Notice 告知书", t.NoticeHash.Hex()},
		Line{"On the ledger 上链内容", "these terms under a random name, every use, and its receipt; nothing that names you 不含身份信息"},
		Line{"Consent 同意编号", string(t.ConsentID)},
	)
}

// ExplainPart says what the lender tells the bank about the subject.
func ExplainPart(p *record.SealedPart) []Line {
	lines := []Line{{"You are named as 身份标识", p.SubjectID}}
	if p.Account != "" {
		lines = append(lines, Line{"Account 账户", p.Account})
	}
	for _, c := range p.Contacts {
		lines = append(lines, Line{"Contact 联系方式", fmt.Sprintf("%s %s", strings.ToLower(string(c.Kind)), c.Value)})
	}
	return append(lines, Line{"Who reads this 接收方", "the bank and you; it is encrypted to each and never on the ledger 仅银行与本人可读"})
}

func day(ms record.Millis) string { return time.UnixMilli(ms).UTC().Format("2006-01-02 15:04 UTC") }

func yesNo(b bool, yes, no string) string {
	if b {
		return yes
	}
	return no
}

var purposeNames = map[record.Purpose]string{
	record.AntiMoneyLaunderingCompliance: "checks against money laundering 反洗钱",
	record.CreditChecking:                "credit check 信用审查",
	record.CreditHistoryEvaluation:       "looking at your credit history 信用历史评估",
	record.CreditLimitDetermination:      "setting a credit limit 额度核定",
	record.CreditScoreEvaluation:         "credit score 信用评分",
	record.CustomerDueDiligence:          "knowing its customer 客户尽职调查",
	record.DebtManagement:                "managing your debt 债务管理",
	record.FraudManagement:               "preventing fraud 反欺诈",
	record.LoanServiceProvision:          "serving your loan 贷款服务",
}

func purposes(list []record.Purpose) string {
	return join(list, func(p record.Purpose) string { return fmt.Sprintf("%s [%s]", purposeNames[p], p) })
}

func dataClasses(list []record.DataClass) string {
	return join(list, func(c record.DataClass) string {
		switch c {
		case record.C1:
			return "C1: facts of low sensitivity 一般信息"
		case record.C2:
			return "C2: sensitive financial facts such as balances and payments 敏感金融信息"
		}
		return string(c)
	})
}

func kinds(list []record.TemplateKind) string {
	return join(list, func(k record.TemplateKind) string {
		switch k {
		case record.Predicate:
			return "yes or no 是否判断"
		case record.Bucket:
			return "a range 区间"
		case record.Score:
			return "a score 评分"
		case record.Total:
			return "the total over several banks, no bank's own figure 多家机构合计"
		}
		return string(k)
	})
}

func join[S ~string](list []S, name func(S) string) string {
	out := make([]string, 0, len(list))
	for _, s := range slices.Sorted(slices.Values(list)) {
		out = append(out, name(s))
	}
	return strings.Join(out, "; ")
}
