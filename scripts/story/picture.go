package main

import (
	"bytes"
	"encoding/xml"
	"fmt"
)

// curve is one line of the picture.
type curve struct {
	name string
	area ranked
	line []rocPoint
}

// Sizes of the picture, in pixels.
const (
	plotLeft, plotTop, plotSize = 70, 64, 400
	pictureWidth, pictureHeight = 940, 530
)

// Colours that the colour-blind tell apart (Okabe and Ito), and dashes for whoever
// prints in grey.
var strokes = []struct{ colour, dash string }{{"#888888", "2 4"}, {"#0072b2", "none"}, {"#d55e00", "8 4"}}

// drawROC is an SVG picture of at most three curves: shares of those who paid and of
// those who did not that are above the same risk, with lines of text below their names. It refers to nothing outside itself.
func drawROC(about string, curves []curve, note []string) []byte {
	var b bytes.Buffer
	text := func(x, y float64, attributes, s string) {
		fmt.Fprintf(&b, `<text x="%.1f" y="%.1f" %s>`, x, y, attributes)
		_ = xml.EscapeText(&b, []byte(s)) // a Buffer does not fail
		b.WriteString("</text>\n")
	}
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%d" height="%d" role="img" font-family="system-ui, sans-serif" font-size="14" fill="#222222">
<title>What one invisible answer is worth</title>
<rect width="100%%" height="100%%" fill="#ffffff"/>
`, pictureWidth, pictureHeight, pictureWidth, pictureHeight)
	text(plotLeft, 28, `font-size="20" font-weight="600"`, "What one invisible answer is worth 一个可用不可见的答案值多少")
	text(plotLeft, 50, `fill="#555555"`, about)
	for i := 0; i <= 5; i++ {
		at, share := float64(i)*plotSize/5, fmt.Sprintf("%d %%", 20*i)
		fmt.Fprintf(&b, `<path d="M%.0f %d v%d M%d %.0f h%d" stroke="#e4e4e4" fill="none"/>`+"\n", plotLeft+at, plotTop, plotSize, plotLeft, plotTop+at, plotSize)
		text(plotLeft+at, plotTop+plotSize+20, `text-anchor="middle" fill="#555555"`, share)
		text(plotLeft-8, plotTop+plotSize-at+5, `text-anchor="end" fill="#555555"`, share)
	}
	fmt.Fprintf(&b, `<path d="M%d %d l%d %d" stroke="#bbbbbb" fill="none"/>`+"\n", plotLeft, plotTop+plotSize, plotSize, -plotSize)
	text(plotLeft+plotSize/2, plotTop+plotSize+44, `text-anchor="middle"`, "of those who paid, refused")
	fmt.Fprintf(&b, `<g transform="translate(22 %d) rotate(-90)">`, plotTop+plotSize/2)
	text(0, 0, `text-anchor="middle"`, "of those who defaulted, foreseen")
	b.WriteString("</g>\n")
	for i, c := range curves {
		s := strokes[i]
		fmt.Fprintf(&b, `<path fill="none" stroke="%s" stroke-width="2.5" stroke-dasharray="%s" stroke-linejoin="round" d="M%d %d`, s.colour, s.dash, plotLeft, plotTop+plotSize)
		if n := len(c.line); n > 0 {
			all := c.line[n-1]
			for _, p := range c.line {
				fmt.Fprintf(&b, " L%.1f %.1f", plotLeft+plotSize*p.falseAlarms/max(all.falseAlarms, 1), plotTop+plotSize-plotSize*p.caught/max(all.caught, 1))
			}
		}
		b.WriteString("\"/>\n")
		y := float64(plotTop + 40 + 92*i)
		fmt.Fprintf(&b, `<path d="M500 %.0f h40" stroke="%s" stroke-width="2.5" stroke-dasharray="%s"/>`+"\n", y-5, s.colour, s.dash)
		text(552, y, "", c.name)
		text(552, y+30, `font-size="26" font-weight="600"`, fmt.Sprintf("AUC %.3f", c.area.AUC))
		text(552, y+50, `fill="#555555"`, fmt.Sprintf("95 %%: %.3f to %.3f", c.area.Interval[0], c.area.Interval[1]))
	}
	for i, line := range note {
		text(552, float64(plotTop+plotSize-22*(len(note)-1-i)), `fill="#555555"`, line)
	}
	b.WriteString("</svg>\n")
	return b.Bytes()
}
