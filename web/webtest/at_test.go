package webtest_test

import (
	"regexp"
	"strconv"
)

var (
	before = regexp.MustCompile(`\{(-?\d+)\}`)
	since  = regexp.MustCompile(`NOWMS-(\d+)`)
)

// at puts times in the place of those that are given as milliseconds before now.
func at(text string, now int64) string {
	for _, form := range []*regexp.Regexp{before, since} {
		text = form.ReplaceAllStringFunc(text, func(found string) string {
			ms, err := strconv.ParseInt(form.FindStringSubmatch(found)[1], 10, 64)
			if err != nil {
				panic(err)
			}
			return strconv.FormatInt(now-ms, 10)
		})
	}
	return text
}
