package netguard

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"syscall"
	"time"
)

const (
	// maxDials bounds how many addresses of one host are tried.
	maxDials = 8

	// dialDelay is how long an address that does not answer keeps the next one
	// waiting (RFC 8305, section 5), and minDialDelay the least of it where time is
	// short (the same).
	dialDelay    = 250 * time.Millisecond
	minDialDelay = 10 * time.Millisecond

	// maxDialTime is how long all addresses together get if ctx has no deadline.
	maxDialTime = 30 * time.Second
)

// interleave sorts addresses so that the families alternate as long as there are both,
// beginning with that of the first (RFC 8305, section 4), and returns at most maxDials.
// A network without a route for one family then costs one delay, not one for each
// address.
func interleave(addrs []netip.Addr) []netip.Addr {
	if len(addrs) < 2 {
		return addrs
	}
	var same, other []netip.Addr
	for _, addr := range addrs {
		if addr.Is4() == addrs[0].Is4() {
			same = append(same, addr)
		} else {
			other = append(other, addr)
		}
	}
	sorted := make([]netip.Addr, 0, len(addrs))
	for len(same) > 0 || len(other) > 0 {
		if len(same) > 0 {
			sorted, same = append(sorted, same[0]), same[1:]
		}
		if len(other) > 0 {
			sorted, other = append(sorted, other[0]), other[1:]
		}
	}
	return sorted[:min(len(sorted), maxDials)]
}

// dial returns the first connection that comes about, or else the error that tells
// most.
func (p *Policy) dial(ctx context.Context, network string, addrs []netip.Addr, port uint16) (net.Conn, error) {
	one := p.Dial
	if one == nil {
		one = (&net.Dialer{ControlContext: p.control}).DialContext
	}
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, maxDialTime)
		defer cancel()
	}
	if err := ctx.Err(); err != nil {
		return nil, &net.OpError{Op: "dial", Net: network, Err: err}
	}
	if len(addrs) == 1 {
		return one(ctx, network, netip.AddrPortFrom(addrs[0], port).String())
	}
	return race(ctx, addrs, func(ctx context.Context, addr netip.Addr) (net.Conn, error) {
		return one(ctx, network, netip.AddrPortFrom(addr, port).String())
	})
}

// delayWithin returns the delay with which n addresses have all been begun in half of the
// time that ctx leaves.
func delayWithin(ctx context.Context, n int) time.Duration {
	end, ok := ctx.Deadline()
	if !ok {
		return dialDelay
	}
	return min(dialDelay, max(minDialDelay, time.Until(end)/time.Duration(2*n)))
}

// race dials addresses side by side, each delayWithin after the one before or as soon as
// one has failed. The first connection ends the other dials; a connection that comes
// about nevertheless is closed.
func race(ctx context.Context, addrs []netip.Addr, dial func(context.Context, netip.Addr) (net.Conn, error)) (net.Conn, error) {
	type outcome struct {
		i    int
		conn net.Conn
		err  error
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	outcomes, over := make(chan outcome), make(chan struct{})
	defer close(over)
	begin := func(i int) {
		conn, err := dial(ctx, addrs[i])
		select {
		case outcomes <- outcome{i, conn, err}:
		case <-over:
			if conn != nil {
				conn.Close()
			}
		}
	}

	pause := delayWithin(ctx, len(addrs))
	delay := time.NewTimer(pause)
	defer delay.Stop()
	errs := make([]error, len(addrs))
	go begin(0)
	begun, running := 1, 1
	for {
		select {
		case <-delay.C:
		case o := <-outcomes:
			if o.err == nil {
				return o.conn, nil
			}
			errs[o.i] = o.err
			running--
		}
		if begun < len(addrs) && ctx.Err() == nil {
			go begin(begun)
			begun++
			running++
			delay.Reset(pause)
		}
		if running == 0 {
			return nil, mostTelling(errs[:begun])
		}
	}
}

// mostTelling returns the first error that is not about this machine's own lack of a
// route, which says nothing of the receiver, or else the first.
func mostTelling(errs []error) error {
	for _, err := range errs {
		if !noRoute(err) {
			return err
		}
	}
	return errs[0]
}

// noRoute reports whether a dial failed without a packet sent.
func noRoute(err error) bool {
	for _, errno := range []syscall.Errno{syscall.ENETUNREACH, syscall.EADDRNOTAVAIL, syscall.EAFNOSUPPORT} {
		if errors.Is(err, errno) {
			return true
		}
	}
	return false
}
