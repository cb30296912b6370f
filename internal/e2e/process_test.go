//go:build unix

package e2e

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/hookpost/hookpost/internal/e2e/setup"
	"github.com/hookpost/hookpost/internal/pgproxy"
)

// process is a worker that sends a share of the events, and is started again when
// it has been killed. It then gets the events that nobody has acknowledged yet:
// again, if only the acknowledgement was cut off.
type process struct {
	ctx    context.Context
	config setup.Config
	rcv    *receiver
	proxy  *pgproxy.Proxy // before its server; nil: none

	cmd    *exec.Cmd
	stdin  io.WriteCloser
	output sync.WaitGroup // its pipes

	mu      sync.Mutex
	lines   []string // "id type"
	acked   map[string]bool
	news    []string               // what it wrote besides
	trouble map[string][]time.Time // by message
}

// start runs the worker with all lines that were not acknowledged.
func (p *process) start(t *testing.T) {
	t.Helper()
	config, err := json.Marshal(&p.config)
	require.NoError(t, err)
	p.cmd = exec.CommandContext(p.ctx, workerProgram, "-config", string(config), "-limit", patience.String())
	p.stdin, err = p.cmd.StdinPipe()
	require.NoError(t, err)
	stdout, err := p.cmd.StdoutPipe()
	require.NoError(t, err)
	stderr, err := p.cmd.StderrPipe()
	require.NoError(t, err)
	require.NoError(t, p.cmd.Start())

	p.mu.Lock()
	unsent := slices.DeleteFunc(slices.Clone(p.lines), func(line string) bool { return p.acked[lineID(line)] })
	p.trouble = make(map[string][]time.Time)
	p.mu.Unlock()
	ended := make(chan struct{})
	p.output.Go(func() { p.feed(unsent, ended) })
	p.output.Go(func() {
		defer close(ended)
		p.listen(stdout)
	})
	p.output.Go(func() { p.watch(t, stderr) })
}

// window is how many events of a process are under way, more than one fault can
// hold up.
const window = 150

// feed writes lines as fast as their events arrive at the receiver, so that there
// is always something to send and something to deliver when a fault comes.
func (p *process) feed(lines []string, ended <-chan struct{}) {
	var open []string // ids that have not arrived
	for _, line := range lines {
		for len(open) >= window {
			if open = p.rcv.missing(open); len(open) < window {
				break
			}
			select {
			case <-ended:
				return
			case <-time.After(time.Millisecond):
			}
		}
		write(p.stdin, []string{line})
		open = append(open, lineID(line))
	}
}

// write stops when the process is gone.
func write(w io.Writer, lines []string) {
	for _, line := range lines {
		if _, err := fmt.Fprintln(w, line); err != nil {
			return
		}
	}
}

// give has further events sent at once.
func (p *process) give(lines ...string) {
	p.mu.Lock()
	p.lines = append(p.lines, lines...)
	p.mu.Unlock()
	if p.cmd != nil {
		write(p.stdin, lines)
	}
}

// order tells the worker something else; see package setup.
func (p *process) order(line string) { write(p.stdin, []string{line}) }

func (p *process) listen(stdout io.Reader) {
	for lines := bufio.NewScanner(stdout); lines.Scan(); {
		p.mu.Lock()
		if line := lines.Text(); strings.HasPrefix(line, "!") {
			p.news = append(p.news, line)
		} else {
			p.acked[line] = true
		}
		p.mu.Unlock()
	}
}

// troubleForm is a line of the Sender's log.
var troubleForm = regexp.MustCompile(`^time=(\S+) level=(?:WARN|ERROR) msg="(hookpost: [^"]*)"`)

// watch passes on what the process logs, and notes the times of the Sender's lines.
func (p *process) watch(t *testing.T, stderr io.Reader) {
	for lines := bufio.NewScanner(stderr); lines.Scan(); {
		fmt.Fprintf(t.Output(), "worker %d: %s\n", p.cmd.Process.Pid, lines.Text())
		m := troubleForm.FindStringSubmatch(lines.Text())
		if m == nil {
			continue
		}
		if at, err := time.Parse(time.RFC3339, m[1]); err == nil {
			p.mu.Lock()
			p.trouble[m[2]] = append(p.trouble[m[2]], at)
			p.mu.Unlock()
		}
	}
}

// quiet fails the test if the process has logged the same trouble more often than every
// ten seconds since it was started. On a busy machine a line can be written a while after
// the Sender has decided on it.
func (p *process) quiet(t *testing.T) {
	t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	for msg, at := range p.trouble {
		for i := 1; i < len(at); i++ {
			require.GreaterOrEqual(t, at[i].Sub(at[i-1]), 8*time.Second, "the Sender logs too much: %s", msg)
		}
	}
}

func lineID(line string) string {
	id, _, _ := strings.Cut(line, " ")
	return id
}

// kill ends the process with SIGKILL.
func (p *process) kill() {
	if p.cmd == nil {
		return
	}
	_ = p.cmd.Process.Kill()
	p.output.Wait()
	_ = p.cmd.Wait()
	p.cmd = nil
}

func (p *process) signal(t *testing.T, s syscall.Signal) {
	t.Helper()
	require.NoError(t, p.cmd.Process.Signal(s))
}

// wait waits for a process that ends by itself, without an error.
func (p *process) wait(t *testing.T) {
	t.Helper()
	p.output.Wait()
	require.NoError(t, p.cmd.Wait())
	p.cmd = nil
}

// finish lets the process end when all is delivered.
func (p *process) finish(t *testing.T) {
	t.Helper()
	p.until(t, "all acknowledged", func() bool { return len(p.acked) == len(p.lines) })
	require.NoError(t, p.stdin.Close())
	p.wait(t)
}

// hear waits until the process has written n lines with a mark of package setup.
func (p *process) hear(t *testing.T, mark string, n int) {
	t.Helper()
	p.until(t, mark, func() bool { return countPrefix(p.news, mark) >= n })
}

// heard returns the lines with a mark.
func (p *process) heard(mark string) []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(p.news), func(line string) bool { return !strings.HasPrefix(line, mark) })
}

func countPrefix(lines []string, prefix string) (n int) {
	for _, line := range lines {
		if strings.HasPrefix(line, prefix) {
			n++
		}
	}
	return n
}

// until waits for something about the process, which is read under its lock.
func (p *process) until(t *testing.T, what string, done func() bool) {
	t.Helper()
	for {
		p.mu.Lock()
		ok := done()
		acked, all := len(p.acked), len(p.lines)
		p.mu.Unlock()
		if ok {
			return
		}
		if p.ctx.Err() != nil || p.cmd.ProcessState != nil {
			require.FailNow(t, "took too long: "+what, "%d of %d events were acknowledged", acked, all)
		}
		time.Sleep(5 * time.Millisecond)
	}
}
