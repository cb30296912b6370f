package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/hookpost/hookpost/sender"
)

var recoverCommand = command{
	name:  "recover",
	short: "replay what was given up, and hasten what waits for a retry",
	long: `
Exhausted deliveries to enabled endpoints that were not delivered since get a new
one; pending ones become due now. With --missed an endpoint is also sent what fired
while it was disabled. Try it with --dry-run first.

It works in steps. Interrupted by Ctrl-C it prints what was done (exit status 130);
run again it goes on, and nothing is sent twice.`,
	prepare: func(c *call) func(context.Context) error {
		src := c.storeFlags()
		var r sender.Recovery
		textFlag(c.flags, &r.EndpointID, "endpoint", "only this `ENDPOINT`")
		textFlag(c.flags, &r.Type, "type", "only events of this `TYPE`")
		c.rangeFlags(&r.From, &r.To)
		boolFlag(c.flags, &r.Missed, "missed", "also send what fired while the endpoint was disabled; needs --endpoint")
		boolFlag(c.flags, &r.DryRun, "dry-run", "count, and change nothing")
		valueFlag(c.flags, &r.Rate, "rate", "queue at most `N` deliveries a second (0: no limit)", count(0, 1_000_000))
		return func(ctx context.Context) error {
			if r.Missed && r.EndpointID == "" {
				return badInput("--missed needs --endpoint: events are missed by one endpoint")
			}
			if err := checkRange(r.From, r.To); err != nil {
				return err
			}
			return src.use(ctx, c, nil, func(t *sender.Tenant) error {
				if r.EndpointID != "" {
					if _, err := t.Endpoint(ctx, r.EndpointID); err != nil {
						return src.missing(err, "endpoint", r.EndpointID)
					}
				}
				p := newProgress(c.stderr)
				r.Progress = p.show
				report, err := t.Recover(ctx, r)
				p.end()
				if err != nil && !errors.Is(err, context.Canceled) {
					return err
				}
				if printErr := c.printRecovered(report, &r, err == nil); printErr != nil {
					return printErr
				}
				return err
			})
		}
	},
}

func (c *call) printRecovered(n sender.RecoverReport, r *sender.Recovery, complete bool) error {
	if c.json {
		return c.out.json(struct {
			Replayed int  `json:"replayed"`
			Hastened int  `json:"hastened"`
			Missed   int  `json:"missed"`
			DryRun   bool `json:"dry_run"`
			Complete bool `json:"complete"`
		}{n.Replayed, n.Hastened, n.Missed, r.DryRun, complete})
	}
	given := "were given a new one"
	due := "are due now"
	if r.DryRun {
		given, due = "would be given a new one", "would be due now"
	}
	c.out.facts([][2]string{
		{fmt.Sprint(n.Replayed), "exhausted deliveries " + given},
		{fmt.Sprint(n.Hastened), "pending deliveries " + due},
	})
	if r.Missed {
		c.out.facts([][2]string{{fmt.Sprint(n.Missed), "missed events " + map[bool]string{false: "are queued", true: "would be queued"}[r.DryRun]}})
	}
	if !r.DryRun && n.Replayed+n.Hastened+n.Missed > 0 {
		fmt.Fprintln(c.stderr, "They are queued; the application sends them. What became of them: hookpost deliveries")
	}
	return nil
}

// A progress says how far long work is: in place on a terminal, in lines elsewhere.
type progress struct {
	out      io.Writer
	terminal bool
	every    time.Duration
	last     time.Time
	shown    bool
}

func newProgress(out io.Writer) *progress {
	p := &progress{out: out, terminal: onTerminal(out), every: 5 * time.Second, last: time.Now()}
	if p.terminal {
		p.every = 100 * time.Millisecond
	}
	return p
}

func (p *progress) show(r sender.RecoverReport) {
	if time.Since(p.last) < p.every {
		return
	}
	p.last, p.shown = time.Now(), true
	before, after := "", "\n"
	if p.terminal {
		before, after = "\r\x1b[K", ""
	}
	fmt.Fprintf(p.out, "%sreplayed %d, hastened %d, missed %d%s", before, r.Replayed, r.Hastened, r.Missed, after)
}

// end removes the progress from a terminal.
func (p *progress) end() {
	if p.terminal && p.shown {
		fmt.Fprint(p.out, "\r\x1b[K")
	}
}
