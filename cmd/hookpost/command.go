package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"slices"
	"strings"
)

// A command is one of hookpost's. Its name has two words if it belongs to a group,
// such as "endpoints create".
type command struct {
	name  string
	args  string // what stands behind the flags: "EVENT ENDPOINT"; [X] is optional, A|B a choice
	short string // a line for the list of commands
	long  string // what else there is to know
	// prepare declares the flags and returns what runs once they are parsed.
	prepare func(c *call) func(context.Context) error
}

// commands returns all of them in the order of the help text.
func commands() []command {
	return slices.Concat(
		[]command{signCommand, verifyCommand, sendCommand, listenCommand},
		endpointCommands,
		deliveryCommands,
		[]command{explainCommand, replayCommand, recoverCommand, migrateCommand},
		keyCommands,
		[]command{versionCommand},
	)
}

// A call is one run of a command.
type call struct {
	surroundings
	command *command
	flags   *flag.FlagSet
	args    []string // those that are not flags
	json    bool
	out     *output
}

func newCall(cmd *command, s surroundings) *call {
	c := &call{surroundings: s, command: cmd, out: &output{to: s.stdout}}
	c.flags = flag.NewFlagSet(cmd.name, flag.ContinueOnError)
	c.flags.SetOutput(io.Discard) // flagError tells of errors
	boolFlag(c.flags, &c.json, "json", "print JSON, for programs")
	return c
}

// run executes the command that args name and returns the exit status.
func run(ctx context.Context, args []string, s surroundings) int {
	if len(args) == 0 {
		printOverview(s.stderr)
		return exitBadInput
	}
	switch args[0] {
	case "-h", "-help", "--help", "help":
		if args[0] == "help" && len(args) > 1 {
			return run(ctx, append(slices.Clone(args[1:]), "-h"), s)
		}
		printOverview(s.stdout)
		return exitOK
	case "-version", "--version":
		args[0] = "version"
	}
	cmd, rest, err := find(args)
	if err != nil {
		return report(ctx, s.stderr, "", err)
	}
	c := newCall(cmd, s)
	do := cmd.prepare(c)
	err = c.parse(rest)
	if errors.Is(err, flag.ErrHelp) {
		c.printHelp(s.stdout)
		return exitOK
	}
	if err == nil {
		err = do(ctx)
	}
	if err == nil && c.out.err != nil {
		err = fmt.Errorf("writing the output: %w", c.out.err)
	}
	return report(ctx, s.stderr, cmd.name, err)
}

// find returns the command that args begin with, and what follows its name.
func find(args []string) (*command, []string, error) {
	one := args[0]
	if len(args) > 1 {
		if cmd := named(one + " " + args[1]); cmd != nil {
			return cmd, args[2:], nil
		}
	}
	cmd, group := named(one), subcommands(one)
	flagNext := len(args) > 1 && strings.HasPrefix(args[1], "-")
	switch {
	case len(group) > 0 && len(args) > 1 && !flagNext:
		return nil, nil, badInput("%s has no command %.80q; it has %s", one, args[1], enumerate(group, "and"))
	case cmd != nil:
		return cmd, args[1:], nil
	case len(group) > 0:
		return groupCommand(one), args[1:], nil
	case strings.HasPrefix(one, "-"):
		return nil, nil, badInput("flags stand behind a command, and %.80q stands first; hookpost -h lists the commands", one)
	}
	return nil, nil, badInput("there is no command %.80q; hookpost -h lists them", one)
}

// named returns the command of that name, or nil.
func named(name string) *command {
	all := commands()
	i := slices.IndexFunc(all, func(cmd command) bool { return cmd.name == name })
	if i < 0 {
		return nil
	}
	return &all[i]
}

// inGroup returns the commands whose first word is that of the group.
func inGroup(group string) []command {
	return slices.DeleteFunc(commands(), func(cmd command) bool { return !strings.HasPrefix(cmd.name, group+" ") })
}

// subcommands returns the second words of a group's commands.
func subcommands(group string) []string {
	var words []string
	for _, cmd := range inGroup(group) {
		words = append(words, strings.TrimPrefix(cmd.name, group+" "))
	}
	return words
}

// groupCommand stands for a group whose name is no command by itself: it has help.
func groupCommand(group string) *command {
	return &command{
		name: group, args: "COMMAND", short: "the commands for " + group,
		prepare: func(*call) func(context.Context) error {
			return func(context.Context) error { return nil } // parse has refused it: COMMAND is missing
		},
	}
}

// parse reads flags, which may stand before, between and behind the arguments.
func (c *call) parse(args []string) error {
	for {
		if err := c.flags.Parse(args); err != nil {
			return c.flagError(err)
		}
		rest := c.flags.Args()
		if ended := len(args) - len(rest); ended > 0 && args[ended-1] == "--" {
			c.args = append(c.args, rest...)
			break
		}
		if len(rest) == 0 {
			break
		}
		c.args = append(c.args, rest[0])
		args = rest[1:]
	}
	least, most := 0, 0
	for _, arg := range strings.Fields(c.command.args) {
		most++
		if !strings.HasPrefix(arg, "[") {
			least++
		}
	}
	switch { // no argument is repeated: a secret may have been given by mistake
	case slices.Contains(c.args, ""):
		return badInput("an argument is empty; the form is: %s", c.usage())
	case len(c.args) > most && most == 0:
		return badInput("this command takes no arguments; the form is: %s", c.usage())
	case len(c.args) > most:
		return badInput("there are %d arguments, more than %d; the form is: %s", len(c.args), most, c.usage())
	case len(c.args) < least && c.command.args == "COMMAND":
		return badInput("one of its commands is missing: %s", enumerate(subcommands(c.command.name), "or"))
	case len(c.args) < least:
		return badInput("an argument is missing; the form is: %s", c.usage())
	}
	return nil
}

// arg returns an optional argument.
func (c *call) arg(i int) string {
	if i < len(c.args) {
		return c.args[i]
	}
	return ""
}

func (c *call) usage() string {
	usage := "hookpost " + c.command.name + " [flags]"
	if c.command.args != "" {
		usage += " " + c.command.args
	}
	return usage
}

// given reports whether a flag stands on the command line.
func (c *call) given(name string) bool {
	found := false
	c.flags.Visit(func(f *flag.Flag) { found = found || f.Name == name })
	return found
}

// enumerate joins words as a sentence does: "a, b and c".
func enumerate(words []string, and string) string {
	if len(words) < 2 {
		return strings.Join(words, "")
	}
	last := len(words) - 1
	return strings.Join(words[:last], ", ") + " " + and + " " + words[last]
}
