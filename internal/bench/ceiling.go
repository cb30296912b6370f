package main

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

func ceilingName(concurrency int) string {
	return fmt.Sprintf("signed net/http, %d at once", concurrency)
}

// ceiling posts signed requests as a plain program would that knows net/http well:
// enough idle connections, no compression, a reused HMAC.
func ceiling(concurrency int) measureFunc {
	return func(ctx context.Context, run *run) (result, error) {
		if err := run.receiver.reset(ctx); err != nil {
			return result{}, err
		}
		key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(secretText, "whsec_"))
		if err != nil {
			return result{}, err
		}
		transport := &http.Transport{
			MaxIdleConns:        concurrency,
			MaxIdleConnsPerHost: concurrency,
			DisableCompression:  true,
		}
		defer transport.CloseIdleConnections()
		client := &http.Client{Transport: transport, Timeout: 10 * time.Second}
		body := envelope(payload(run.payload), eventType(0))

		var (
			next atomic.Int64
			wg   sync.WaitGroup
			errs = make(chan error, concurrency)
		)
		m, err := run.begin()
		if err != nil {
			return result{}, err
		}
		for range concurrency {
			wg.Go(func() {
				mac := hmac.New(sha256.New, key)
				for {
					i := next.Add(1) - 1
					if i >= int64(run.n) {
						return
					}
					if err := postSigned(ctx, client, run.receiver.endpoint(int(i)%run.endpoints), body, ceilingID(i), mac); err != nil {
						errs <- err
						return
					}
				}
			})
		}
		wg.Wait()
		r, err := m.end(run.n)
		if err != nil {
			return r, err
		}
		select {
		case err := <-errs:
			return r, err
		default:
		}
		err = run.received(ctx, &r)
		return r, err
	}
}

type mac interface {
	io.Writer
	Sum([]byte) []byte
	Reset()
}

func postSigned(ctx context.Context, client *http.Client, url string, body []byte, id string, h mac) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return err
	}
	timestamp := strconv.FormatInt(time.Now().Unix(), 10)
	h.Reset()
	_, _ = io.WriteString(h, id+"."+timestamp+".")
	_, _ = h.Write(body)
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Webhook-Id", id)
	req.Header.Set("Webhook-Timestamp", timestamp)
	req.Header.Set("Webhook-Signature", "v1,"+base64.StdEncoding.EncodeToString(h.Sum(nil)))
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	_, _ = io.Copy(io.Discard, resp.Body)
	resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("the receiver answered %s", resp.Status)
	}
	return nil
}
