package pgproxy

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

// Proxy stands before one server. Its methods may be called concurrently.
type Proxy struct {
	network, address string // of the server
	dir              string // of the socket
	listener         net.Listener
	pumps            sync.WaitGroup

	mu      sync.Mutex
	change  sync.Cond // of what holds messages up
	conns   map[*conn]struct{}
	armed   []*Injected
	stopped stopped // all connections
	latency time.Duration
	closed  bool
	counts  Counts
	records []*[]Message
}

// stopped is what does not pass.
type stopped struct {
	frozen bool // anything
	mute   bool // what the server sends
}

// Counts are what has passed so far.
type Counts struct {
	Conns int // connections that were accepted
	// Trips are round trips: times that a client sent something after it had been
	// answered. The beginning of a connection has one or more, its end none.
	Trips int
}

// Port is part of the name of a proxy's socket.
const Port = 5432

// connectTimeout bounds how long the server may take to accept.
const connectTimeout = 10 * time.Second

// ForTest starts a proxy before the server at the address, which for the network "unix"
// is a socket's path. It ends with the test, and so do all its connections.
func ForTest(t testing.TB, network, address string) *Proxy {
	t.Helper()
	p, err := Start(network, address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	return p
}

// Start is [ForTest] for a proxy that Close ends.
func Start(network, address string) (*Proxy, error) {
	dir, err := os.MkdirTemp("", "hookpost-proxy") // short: the path of a socket is limited
	if err != nil {
		return nil, err
	}
	p := newProxy()
	p.network, p.address, p.dir = network, address, dir
	if p.listener, err = net.Listen("unix", filepath.Join(dir, fmt.Sprintf(".s.PGSQL.%d", Port))); err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	p.pumps.Go(p.accept)
	return p, nil
}

func newProxy() *Proxy {
	p := &Proxy{conns: make(map[*conn]struct{})}
	p.change.L = &p.mu
	return p
}

// Host is the directory of the proxy's socket, which clients name as the host; the port
// is [Port].
func (p *Proxy) Host() string { return p.dir }

// DSN connects to a database of the server's, through the proxy and as postgres.
func (p *Proxy) DSN(database string) string {
	return fmt.Sprintf("host=%s port=%d user=postgres dbname=%s", p.dir, Port, database)
}

// Close cuts all connections and waits until nothing of the proxy runs.
func (p *Proxy) Close() {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	if p.listener != nil {
		_ = p.listener.Close()
	}
	p.CutAll()
	p.pumps.Wait()
	_ = os.RemoveAll(p.dir)
}

// CutAll closes all connections. New ones are accepted.
func (p *Proxy) CutAll() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.conns {
		c.cut()
	}
	p.change.Broadcast()
}

// SetLatency has every round trip take so much longer. 0 ends it.
func (p *Proxy) SetLatency(d time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.latency = d
}

// Counts returns what has passed so far.
func (p *Proxy) Counts() Counts {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.counts
}

// Record notes every message from now on, in the order in which they come to the proxy.
// The function that it returns ends that and returns them.
func (p *Proxy) Record() (stop func() []Message) {
	record := new([]Message)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.records = append(p.records, record)
	return func() []Message {
		p.mu.Lock()
		defer p.mu.Unlock()
		for k := range p.records {
			if p.records[k] == record {
				p.records = append(p.records[:k], p.records[k+1:]...)
				break
			}
		}
		return *record
	}
}

func (p *Proxy) accept() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		p.pumps.Go(func() {
			ctx, cancel := context.WithTimeout(context.Background(), connectTimeout)
			defer cancel()
			server, err := (&net.Dialer{}).DialContext(ctx, p.network, p.address)
			if err != nil {
				_ = client.Close() // as if nobody listened
				return
			}
			p.serve(client, server)
		})
	}
}

// serve begins to pass what the two say to each other.
func (p *Proxy) serve(client, server net.Conn) {
	c := &conn{
		proxy: p, client: client, server: server, ended: make(chan struct{}),
		statements: statements{make(map[string]string), make(map[string]string)},
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		c.cut()
		return
	}
	p.counts.Conns++
	c.number = p.counts.Conns
	p.conns[c] = struct{}{}
	p.pumps.Go(func() { c.pump(Client, client, server) })
	p.pumps.Go(func() { c.pump(Server, server, client) })
}

// conn is a client's connection with the one to the server that belongs to it.
type conn struct {
	proxy          *Proxy
	number         int
	client, server net.Conn
	once           sync.Once
	ended          chan struct{} // closed when it is cut

	statements statements // the client's pump's

	// Under the proxy's lock.
	stopped stopped
	asked   bool // the client waits for an answer
	status  byte // Message.Status
}

// cut closes the connection, once.
func (c *conn) cut() {
	c.once.Do(func() {
		close(c.ended)
		_ = c.client.Close()
		_ = c.server.Close()
	})
}

// flushing writes what is buffered before it waits for more to read.
type flushing struct {
	io.Reader
	to *bufio.Writer
}

func (f flushing) Read(b []byte) (int, error) {
	if err := f.to.Flush(); err != nil {
		return 0, err
	}
	return f.Reader.Read(b)
}

// pump passes what one side says until either side ends.
func (c *conn) pump(from Side, source io.Reader, sink io.Writer) {
	defer c.end()
	to := bufio.NewWriterSize(sink, 64<<10)
	in := bufio.NewReaderSize(flushing{source, to}, 64<<10)
	untyped := from == Client
	for {
		raw, err := readMessage(in, untyped)
		if err != nil {
			c.pass(from, to, raw) // a part of a message, if anything
			_ = to.Flush()
			return
		}
		if untyped && asksToEncrypt(raw) {
			if _, err := c.client.Write([]byte{'N'}); err != nil {
				return
			}
			continue
		}
		m := c.look(from, raw, untyped)
		untyped = false
		if !c.deliver(&m, to, raw) {
			return
		}
	}
}

// end is called by each pump.
func (c *conn) end() {
	c.cut()
	p := c.proxy
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.conns, c)
	p.change.Broadcast()
}

// look says what message it is.
func (c *conn) look(from Side, raw []byte, untyped bool) Message {
	m := Message{Conn: c.number, From: from, Size: len(raw)}
	switch {
	case untyped:
		m.Text = untypedText(raw)
	case from == Client:
		m.Type = raw[0]
		m.Text = c.statements.text(m.Type, raw[5:])
	default:
		m.Type = raw[0]
		m.Text = answerText(m.Type, raw[5:])
	}
	p := c.proxy
	p.mu.Lock()
	latency := time.Duration(0)
	switch {
	case from == Server:
		c.asked = false
		if m.Type == 'Z' {
			c.status = m.Text[0]
		}
	case !c.asked && m.Type != 'X':
		c.asked, latency = true, p.latency
		p.counts.Trips++
	}
	m.Status = c.status
	for _, record := range p.records {
		*record = append(*record, m)
	}
	p.mu.Unlock()
	c.sleep(latency)
	return m
}

// sleep returns earlier if the connection ends.
func (c *conn) sleep(d time.Duration) {
	if d <= 0 {
		return
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-c.ended:
	}
}

// deliver passes a message, with the faults that happen in it. It returns false if the
// connection ends.
func (c *conn) deliver(m *Message, to *bufio.Writer, raw []byte) bool {
	passed := 0
	for first := true; ; first = false {
		fault, at := c.proxy.next(c, m, passed, first)
		if fault == nil {
			return c.pass(m.From, to, raw[passed:])
		}
		ok, mute := c.wait(m.From)
		if !ok {
			return false
		}
		if fault.Do == Freeze || fault.Do == Swallow {
			c.proxy.apply(c, fault, true) // before the other side can answer
		}
		if !mute {
			_, _ = to.Write(raw[passed:at]) // Flush says it again
		}
		if to.Flush() != nil {
			return false
		}
		passed = at
		close(fault.hit) // before anybody can notice
		if fault.Do == Cut {
			c.cut()
			if fault.All {
				c.proxy.CutAll()
			}
		}
		c.sleep(fault.pause())
	}
}

// pass writes a part of a message as soon as nothing is frozen, unless it is swallowed.
// It returns false if the connection ends.
func (c *conn) pass(from Side, to *bufio.Writer, raw []byte) bool {
	ok, mute := c.wait(from)
	if !ok || mute {
		return ok
	}
	_, err := to.Write(raw)
	return err == nil
}

// wait returns when nothing is frozen, and whether what this side sends is swallowed. It
// is not ok if the connection ends.
func (c *conn) wait(from Side) (ok, mute bool) {
	p := c.proxy
	p.mu.Lock()
	defer p.mu.Unlock()
	for (c.stopped.frozen || p.stopped.frozen) && !c.gone() {
		p.change.Wait()
	}
	return !c.gone(), from == Server && (c.stopped.mute || p.stopped.mute)
}

func (c *conn) gone() bool {
	select {
	case <-c.ended:
		return true
	default:
		return false
	}
}
