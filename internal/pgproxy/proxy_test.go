package pgproxy

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// message spells one; typ is 0 for the client's first.
func message(typ byte, body string) []byte {
	var b []byte
	if typ != 0 {
		b = append(b, typ)
	}
	b = binary.BigEndian.AppendUint32(b, uint32(4+len(body)))
	return append(b, body...)
}

func startup() []byte {
	return message(0, string(binary.BigEndian.AppendUint32(nil, 3<<16))+"user\x00postgres\x00\x00")
}

func untyped(code uint32) []byte { return message(0, string(binary.BigEndian.AppendUint32(nil, code))) }

// ends are a client and a server with a proxy between them, in a bubble of synctest.
// What one of them gets is collected.
type ends struct {
	proxy          *Proxy
	client, server *end
}

type end struct {
	net.Conn
	mu   sync.Mutex
	got  []byte
	over bool // its connection was closed
}

func (x *end) heard() string {
	x.mu.Lock()
	defer x.mu.Unlock()
	return string(x.got)
}

func (x *end) forget() {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.got = nil
}

func (x *end) ended() bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.over
}

func (x *end) listen() {
	for b := make([]byte, 1024); ; {
		n, err := x.Read(b)
		x.mu.Lock()
		x.got = append(x.got, b[:n]...)
		x.over = err != nil
		x.mu.Unlock()
		if err != nil {
			_ = x.Close()
			return
		}
	}
}

// between runs test in a bubble, which nothing of the proxy outlives.
func between(t *testing.T, test func(t *testing.T, e *ends)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		e := &ends{proxy: newProxy()}
		e.client, e.server = e.connect()
		defer e.proxy.Close()
		e.client.say(startup())
		e.server.say(message('Z', "I"))
		e.client.forget()
		e.server.forget()
		test(t, e)
	})
}

// connect makes a further client with a connection to the server.
func (e *ends) connect() (client, server *end) {
	client, server = &end{}, &end{}
	var front, back net.Conn
	client.Conn, front = net.Pipe()
	server.Conn, back = net.Pipe()
	e.proxy.serve(front, back)
	for _, x := range []*end{client, server} {
		go x.listen()
	}
	return client, server
}

// say writes, if the other side reads, and waits until all has come to rest.
func (x *end) say(messages ...[]byte) {
	all := bytes.Join(messages, nil)
	go func() { _, _ = x.Write(all) }() // may never end
	synctest.Wait()
}

func TestEverythingPassesUnchanged(t *testing.T) {
	between(t, func(t *testing.T, e *ends) {
		stop := e.proxy.Record()
		asked := bytes.Join([][]byte{
			message('Q', "BEGIN\x00"),
			message('P', "s1\x00SELECT $1\x00\x00\x00"), message('D', "Ss1\x00"), message('S', ""),
			message('B', "p1\x00s1\x00\x00\x00\x00\x00\x00\x00"), message('D', "Pp1\x00"), message('E', "p1\x00\x00\x00\x00\x00"), message('S', ""),
			message('C', "Ss1\x00"), message('B', "\x00s1\x00\x00\x00\x00\x00\x00\x00"), message('X', ""),
		}, nil)
		for i := range asked { // in pieces that end anywhere
			e.client.say(asked[i : i+1])
		}
		answered := bytes.Join([][]byte{
			message('1', ""), message('D', string(make([]byte, 200_000))), message('C', "SELECT 1\x00"),
			message('E', "SERROR\x00C40001\x00Mserialization\x00\x00"), message('Z', "E"),
		}, nil)
		e.server.say(answered)
		require.Equal(t, string(asked), e.server.heard())
		require.Equal(t, string(answered), e.client.heard())

		var got []string
		for _, m := range stop() {
			got = append(got, fmt.Sprintf("%c %s", m.Type, m.Text))
		}
		require.Equal(t, []string{
			"Q BEGIN", "P SELECT $1", "D SELECT $1", "S ", "B SELECT $1", "D SELECT $1", "E SELECT $1", "S ",
			"C SELECT $1", "B ", "X ", "1 ", "D ", "C SELECT 1", "E 40001", "Z E",
		}, got)
	})
}

// A stream is cut at each of its bytes, by a place counted from its first message and
// from the message that the byte is in.
func TestCutAtEveryByte(t *testing.T) {
	stream := [][]byte{message('Q', "one\x00"), message('Q', "two\x00")}
	all := bytes.Join(stream, nil)
	size := len(stream[0])
	for _, from := range []Side{Client, Server} {
		for n := range len(all) + 1 {
			faults := []Fault{{From: from, Byte: n, Do: Cut}}
			if n >= size {
				faults = append(faults, Fault{From: from, Skip: 1, Byte: n - size, Do: Cut})
			}
			if n == size || n == len(all) {
				faults = append(faults, Fault{From: from, Skip: n/size - 1, Byte: End, Do: Cut})
			}
			for _, f := range faults {
				between(t, func(t *testing.T, e *ends) {
					sender, hearer := e.client, e.server
					if from == Server {
						sender, hearer = hearer, sender
					}
					cut := e.proxy.Inject(f)
					sender.say(all)
					require.True(t, cut.Happened(), "%+v", f)
					require.Equal(t, string(all[:n]), hearer.heard(), "%+v", f)
					require.True(t, sender.ended() && hearer.ended(), "%+v", f)
				})
			}
		}
	}
}

func TestFreezeAtEveryByte(t *testing.T) {
	all := bytes.Join([][]byte{message('Q', "one\x00"), message('S', "")}, nil)
	for _, whole := range []bool{false, true} {
		for _, from := range []Side{Client, Server} {
			for n := range len(all) + 1 {
				between(t, func(t *testing.T, e *ends) {
					sender, hearer := e.client, e.server
					if from == Server {
						sender, hearer = hearer, sender
					}
					frozen := e.proxy.Inject(Fault{From: from, Byte: n, Do: Freeze, All: whole})
					sender.say(all)
					require.True(t, frozen.Happened())
					require.Equal(t, string(all[:n]), hearer.heard())
					back := message('Z', "I")
					hearer.say(back)
					require.Empty(t, sender.heard(), "nothing comes back")

					other, alsoServer := e.connect()
					other.say(startup())
					require.Equal(t, whole, alsoServer.heard() == "", "a new connection")
					time.Sleep(time.Hour)
					require.False(t, sender.ended() || hearer.ended(), "nobody hears of it")

					frozen.Undo()
					synctest.Wait()
					require.Equal(t, string(all), hearer.heard())
					require.Equal(t, string(back), sender.heard())
					_ = sender.Close()
					synctest.Wait()
					require.True(t, hearer.ended())
				})
			}
		}
	}
}

// Who is gone while nothing passes is not missed.
func TestFrozenConnectionHidesTheEnd(t *testing.T) {
	between(t, func(t *testing.T, e *ends) {
		frozen := e.proxy.Inject(Fault{From: Client, When: Is('S'), Do: Freeze})
		e.client.say(message('S', ""))
		_ = e.client.Close()
		time.Sleep(time.Hour)
		require.False(t, e.server.ended())
		frozen.Undo()
		synctest.Wait()
		require.True(t, e.server.ended())
	})
}

func TestSwallow(t *testing.T) {
	between(t, func(t *testing.T, e *ends) {
		commit := e.proxy.Inject(Fault{From: Client, When: Begins("commit"), Do: Swallow})
		e.client.say(message('Q', "COMMIT\x00"))
		require.True(t, commit.Happened())
		require.Equal(t, "COMMIT", commit.Where().Text)
		require.Equal(t, string(message('Q', "COMMIT\x00")), e.server.heard())
		e.server.say(message('C', "COMMIT\x00"), message('Z', "I"))
		time.Sleep(time.Hour)
		require.Empty(t, e.client.heard())
		require.False(t, e.client.ended() || e.server.ended())
		commit.Undo()
		e.server.say(message('Z', "I"))
		require.Equal(t, string(message('Z', "I")), e.client.heard())
	})
	between(t, func(t *testing.T, e *ends) {
		e.proxy.Inject(Fault{From: Server, When: Is('C'), Byte: 2, Do: Swallow})
		e.server.say(message('D', ""), message('C', "SELECT 0\x00"))
		require.Equal(t, string(message('D', ""))+"C\x00", e.client.heard())
	})
}

func TestDelayAndLatency(t *testing.T) {
	between(t, func(t *testing.T, e *ends) {
		begin := time.Now()
		e.proxy.Inject(Fault{From: Client, When: Is('S'), Byte: 1, Do: Delay, For: time.Minute})
		e.client.say(message('S', ""))
		require.Equal(t, "S", e.server.heard())
		time.Sleep(time.Minute)
		synctest.Wait()
		require.Equal(t, string(message('S', "")), e.server.heard())

		e.server.say(message('Z', "I"))
		e.proxy.SetLatency(5 * time.Second)
		e.server.forget()
		e.client.say(message('P', "\x00SELECT\x00\x00\x00"), message('S', "")) // one round trip
		require.Empty(t, e.server.heard())
		time.Sleep(5 * time.Second)
		synctest.Wait()
		require.NotEmpty(t, e.server.heard())
		require.Equal(t, time.Minute+5*time.Second, time.Since(begin))
		require.Equal(t, Counts{Conns: 1, Trips: 3}, e.proxy.Counts())
	})
}

// The conditions tell what the text of a message is from what it is for.
func TestConditions(t *testing.T) {
	query := func(typ byte, text string) Message { return Message{From: Client, Type: typ, Text: text} }
	for _, c := range []struct {
		when func(Message) bool
		m    Message
		want bool
	}{
		{Begins("commit"), query('Q', " COMMIT"), true},
		{Begins("commit"), query('E', "commit"), true},
		{Begins("commit"), query('P', "commit"), false},
		{Begins("commit"), query('Q', "com"), false},
		{Begins("COMMIT"), Message{From: Server, Type: 'C', Text: "COMMIT"}, true},
		{Commits, query('Q', "commit"), true},
		{Commits, Message{From: Client, Type: 'S', Status: 'I'}, true},
		{Commits, Message{From: Client, Type: 'S', Status: 'T'}, false},
		{Commits, Message{From: Client, Type: 'Q', Text: "UPDATE", Status: 'I'}, true},
		{Commits, Message{From: Client, Type: 'Q', Text: "UPDATE", Status: 'T'}, false},
		{Commits, Message{From: Client, Type: 'Q', Text: "BEGIN", Status: 'I'}, false},
		{Commits, Message{From: Client, Type: 'E', Text: "UPDATE", Status: 'I'}, false},
		{Commits, Message{From: Server, Type: 'S', Status: 'I'}, false},
		{Is('Z'), Message{From: Server, Type: 'Z'}, true},
		{Is('Z'), Message{From: Server, Type: 'C'}, false},
	} {
		require.Equal(t, c.want, c.when(c.m), "%v", c.m)
	}
}

// The state of the transaction is known when the client goes on.
func TestStatus(t *testing.T) {
	between(t, func(t *testing.T, e *ends) {
		stop := e.proxy.Record()
		for _, status := range []string{"T", "E", "I"} {
			e.client.say(message('S', ""))
			e.server.say(message('Z', status))
		}
		e.client.say(message('S', ""))
		var got []byte
		for _, m := range stop() {
			if m.From == Client {
				got = append(got, m.Status)
			}
		}
		require.Equal(t, "ITEI", string(got))
	})
}

// Several faults on one stream happen in the order of their places.
func TestSeveralFaults(t *testing.T) {
	between(t, func(t *testing.T, e *ends) {
		cut := e.proxy.Inject(Fault{From: Client, Skip: 1, Byte: 3, Do: Cut, All: true})
		late := e.proxy.Inject(Fault{From: Client, Skip: 1, Byte: 4, Do: Cut})
		undone := e.proxy.Inject(Fault{From: Client, Do: Cut})
		first := e.proxy.Inject(Fault{From: Client, Skip: 1, Byte: 1, Do: Delay, For: time.Second})
		undone.Undo()
		other, _ := e.connect()
		e.client.say(message('S', ""), message('S', ""))
		require.True(t, first.Happened())
		require.False(t, cut.Happened())
		time.Sleep(time.Second)
		synctest.Wait()
		require.True(t, cut.Happened())
		require.False(t, late.Happened() || undone.Happened())
		require.Equal(t, string(message('S', ""))+"S\x00\x00", e.server.heard())
		require.True(t, other.ended())
	})
}

// Encryption is refused; what comes then is the protocol.
func TestEncryptionIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := &ends{proxy: newProxy()}
		defer e.proxy.Close()
		client, server := e.connect()
		client.say(untyped(codeSSL))
		client.say(untyped(codeGSS))
		require.Equal(t, "NN", client.heard())
		stop := e.proxy.Record()
		client.say(startup())
		require.Equal(t, string(startup()), server.heard())
		require.Equal(t, "startup", stop()[0].Text)

		another, server := e.connect()
		stop = e.proxy.Record()
		another.say(untyped(codeCancel))
		require.Equal(t, string(untyped(codeCancel)), server.heard())
		require.Equal(t, "cancel", stop()[0].Text)
	})
}

// A part of a message comes to the other side when its sender dies in it, and lengths
// that can't be end the connection.
func TestBrokenMessages(t *testing.T) {
	between(t, func(t *testing.T, e *ends) {
		e.client.say([]byte("Q\x00\x00"))
		_ = e.client.Close()
		synctest.Wait()
		require.Equal(t, "Q\x00\x00", e.server.heard())
		require.True(t, e.server.ended())
	})
	for _, length := range []uint32{0, 3, maxMessage + 1, 1<<32 - 1} {
		between(t, func(t *testing.T, e *ends) {
			e.client.say(append([]byte{'Q'}, binary.BigEndian.AppendUint32(nil, length)...))
			require.True(t, e.client.ended() && e.server.ended())
		})
	}
}

func TestSocket(t *testing.T) {
	behind := filepath.Join(t.TempDir(), "server")
	server, err := net.Listen("unix", behind)
	require.NoError(t, err)
	defer server.Close()
	p := ForTest(t, "unix", behind)
	require.Equal(t, "host="+p.Host()+" port=5432 user=postgres dbname=shop", p.DSN("shop"))
	client, err := net.Dial("unix", filepath.Join(p.Host(), ".s.PGSQL.5432"))
	require.NoError(t, err)
	defer client.Close()
	accepted, err := server.Accept()
	require.NoError(t, err)
	defer accepted.Close()
	_, err = client.Write(startup())
	require.NoError(t, err)
	got := make([]byte, len(startup()))
	_, err = io.ReadFull(accepted, got)
	require.NoError(t, err)
	require.Equal(t, startup(), got)
	p.Close()
	_, err = client.Read(got)
	require.Error(t, err)
	require.NoDirExists(t, p.Host())
}
