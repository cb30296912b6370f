package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"runtime/debug"
	"strings"
)

const environment = `Environment:
  HOOKPOST_STORE   the store: sqlite:FILE or postgres://USER@HOST/DATABASE
  HOOKPOST_SECRET  signing secrets, one a line, newest first
  HOOKPOST_KEYS    keys that seal secrets in the store, by commas, newest first
`

func printOverview(w io.Writer) {
	fmt.Fprint(w, "hookpost signs, verifies, sends and receives webhooks, and operates a store of them.\n\n"+
		"Usage: hookpost COMMAND [flags] [arguments]\n\nCommands:\n")
	printList(w, commands())
	fmt.Fprint(w, "\nhookpost COMMAND -h explains a command.\n\n"+environment+`
Exit status: 0 fine, 1 the answer is no, 2 bad input, 3 trouble with the store or
the network, 130 interrupted.
`)
}

func printList(w io.Writer, list []command) {
	width := 0
	for _, cmd := range list {
		width = max(width, len(cmd.name))
	}
	for _, cmd := range list {
		fmt.Fprintf(w, "  %-*s  %s\n", width, cmd.name, cmd.short)
	}
}

// printHelp explains the command: its form, what it does, its flags.
func (c *call) printHelp(w io.Writer) {
	fmt.Fprintf(w, "hookpost %s: %s.\n\nUsage: %s\n", c.command.name, c.command.short, c.usage())
	if c.command.long != "" {
		fmt.Fprintf(w, "\n%s\n", strings.TrimSpace(c.command.long))
	}
	if more := inGroup(c.command.name); len(more) > 0 {
		fmt.Fprint(w, "\nCommands:\n")
		printList(w, more)
	}
	fmt.Fprint(w, "\nFlags:\n")
	var forms, texts []string
	width := 0
	c.flags.VisitAll(func(f *flag.Flag) {
		value, text := flag.UnquoteUsage(f)
		form := "--" + f.Name
		if b, ok := f.Value.(interface{ IsBoolFlag() bool }); (!ok || !b.IsBoolFlag()) && value != "" {
			form += " " + value
		}
		forms, texts = append(forms, form), append(texts, text)
		width = max(width, len(form))
	})
	for i, form := range forms {
		indent := "\n" + strings.Repeat(" ", width+4)
		fmt.Fprintf(w, "  %-*s  %s\n", width, form, strings.Join(wrap(texts[i], helpWidth-width-4), indent))
	}
}

// helpWidth is how many columns the help text takes.
const helpWidth = 84

// wrap breaks a text into lines of at most width columns where its words allow it.
func wrap(text string, width int) []string {
	var lines []string
	line := ""
	for _, word := range strings.Fields(text) {
		if line != "" && len(line)+1+len(word) > width {
			lines, line = append(lines, line), ""
		}
		if line != "" {
			line += " "
		}
		line += word
	}
	return append(lines, line)
}

var versionCommand = command{
	name:  "version",
	short: "print the version",
	prepare: func(c *call) func(context.Context) error {
		return func(context.Context) error {
			v := "unknown"
			if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
				v = info.Main.Version
			}
			if c.json {
				return c.out.json(map[string]string{"version": v})
			}
			fmt.Fprintln(c.out, "hookpost", v)
			return nil
		}
	},
}
