package wallet

import (
	"fmt"
	"slices"
	"strings"

	"github.com/assent-network/assent/chaincode/record"
)

// Previous returns the consent that terms replace, if this wallet signed it.
func (w *Wallet) Previous(t *record.ConsentTerms) (Entry, bool) {
	if t.Supersedes == "" {
		return Entry{}, false
	}
	c, err := w.find(t.Supersedes)
	if err != nil || c.State != Signed && c.State != Revoked {
		return Entry{}, false
	}
	return c.Entry, true
}

// Compare says in plain words what a new version of a consent changes against the
// one that was signed before, and which purposes stay declined. names are as for
// Explain. The new terms name every change: what is not listed is the same.
func Compare(old, next *record.ConsentTerms, names map[string]string) []Line {
	lines := []Line{{"New version 新版本", fmt.Sprintf("it replaces the consent %s that you signed; that one ends when this one is given 取代原同意", old.ConsentID)}}
	add := func(label, format string, args ...any) {
		lines = append(lines, Line{label, fmt.Sprintf(format, args...)})
	}
	change := func(label string, was, is any) {
		if was != is {
			add(label, "was 原为 %v, is now 现为 %v", was, is)
		}
	}
	questions := func(list []record.TemplateID) string {
		return join(list, func(id record.TemplateID) string {
			if n := names["template/"+string(id)]; n != "" {
				return fmt.Sprintf("%s (%s)", n, id)
			}
			return string(id)
		})
	}
	change("Changed: who asks 查询方变更", old.Consumer(), next.Consumer())
	change("Changed: who answers 数据提供方变更", old.Provider(), next.Provider())
	change("Changed: data product 数据产品变更", old.ProductID, next.ProductID)
	sets(&lines, "purposes", "用途", old.Purposes, next.Purposes, purposes)
	sets(&lines, "questions", "查询模板", old.TemplateIDs, next.TemplateIDs, questions)
	sets(&lines, "kinds of data", "数据类别", old.DataClasses, next.DataClasses, dataClasses)
	sets(&lines, "kinds of answer", "处理方式", old.ProcessingMethods, next.ProcessingMethods, kinds)
	change("Changed: uses in all 总次数变更", old.AccessLimits.MaxUses, next.AccessLimits.MaxUses)
	change("Changed: uses a day 每日次数变更", old.AccessLimits.FrequencyPerDay, next.AccessLimits.FrequencyPerDay)
	change("Changed: from 生效变更", day(old.ValidFrom), day(next.ValidFrom))
	change("Changed: until 失效变更", day(old.ExpirationDateTime), day(next.ExpirationDateTime))
	change("Changed: decided by a machine 自动化决策变更", yesNo(old.AutomatedDecision, "yes 是", "no 否"), yesNo(next.AutomatedDecision, "yes 是", "no 否"))
	change("Changed: form 形式变更", old.ConsentType, next.ConsentType)
	change("Changed: notice 告知书变更", old.NoticeHash.Hex(), next.NoticeHash.Hex())
	change("Changed: impact assessment 影响评估变更", old.ImpactAssessmentHash.Hex(), next.ImpactAssessmentHash.Hex())
	if len(lines) == 1 && slices.Equal(old.DeclinedPurposes, next.DeclinedPurposes) {
		add("Changed 变更", "nothing but its number 仅编号不同")
	}
	return append(lines, declined(old, next)...)
}

// sets says what came and what went.
func sets[S ~string](lines *[]Line, what, chinese string, old, next []S, name func([]S) string) {
	if more := without(next, old); len(more) > 0 {
		*lines = append(*lines, Line{fmt.Sprintf("More %s 新增%s", what, chinese), name(more)})
	}
	if less := without(old, next); len(less) > 0 {
		*lines = append(*lines, Line{fmt.Sprintf("No longer: %s 不再包含%s", what, chinese), name(less)})
	}
}

// declined says what becomes of the purposes that the subject said no to.
func declined(old, next *record.ConsentTerms) []Line {
	var lines []Line
	add := func(label string, list []record.Purpose, note string) {
		if len(list) > 0 {
			lines = append(lines, Line{label, strings.TrimSpace(purposes(list) + note)})
		}
	}
	asked := both(old.DeclinedPurposes, next.Purposes)
	add("ASKED AGAIN although you declined it 曾拒绝、现再次请求", asked, ": sign only if you changed your mind")
	add("Stays declined 仍不同意", both(old.DeclinedPurposes, next.DeclinedPurposes), "")
	add("Newly declined 新增不同意", without(next.DeclinedPurposes, old.DeclinedPurposes), "")
	// The ledger refuses such terms; a wallet says so all the same.
	add("Your no is missing 拒绝未被保留", without(without(old.DeclinedPurposes, next.DeclinedPurposes), asked), ": do not sign")
	return lines
}

func without[S ~string](list, others []S) []S {
	return slices.DeleteFunc(slices.Clone(list), func(s S) bool { return slices.Contains(others, s) })
}

func both[S ~string](list, others []S) []S {
	return slices.DeleteFunc(slices.Clone(list), func(s S) bool { return !slices.Contains(others, s) })
}
