package sender

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"math/big"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/hookpost/hookpost/sender/sendertest"
)

// authority issues certificates for a test.
type authority struct {
	pool *x509.CertPool
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test authority"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	require.NoError(t, err)
	cert, err := x509.ParseCertificate(der)
	require.NoError(t, err)
	pool := x509.NewCertPool()
	pool.AddCert(cert)
	return &authority{pool: pool, cert: cert, key: key}
}

// certificate returns one for names that ends at a time.
func (a *authority) certificate(t *testing.T, end time.Time, names ...string) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2), DNSNames: names,
		NotBefore: time.Now().Add(-2 * time.Hour), NotAfter: end,
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, &key.PublicKey, a.key)
	require.NoError(t, err)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// config is that of a server with a valid certificate for names.
func (a *authority) config(t *testing.T, names ...string) *tls.Config {
	t.Helper()
	return &tls.Config{
		Certificates: []tls.Certificate{a.certificate(t, time.Now().Add(time.Hour), names...)}, MinVersion: tls.VersionTLS12,
	}
}

// trusting is the client's configuration that believes the authority.
func (a *authority) trusting() *tls.Config {
	return &tls.Config{RootCAs: a.pool, MinVersion: tls.VersionTLS12}
}

// secured is a receiver behind TLS.
type secured struct {
	addr     string
	requests *atomic.Int32
}

// secureReceiver gives every request the same answer and then closes.
func secureReceiver(t *testing.T, config *tls.Config, a sendertest.Answer) secured {
	t.Helper()
	var requests atomic.Int32
	text := fmt.Sprintf("HTTP/1.1 %d Text\r\nContent-Length: 0\r\n", a.Status)
	for name, values := range a.Header {
		text += name + ": " + values[0] + "\r\n"
	}
	addr, _ := rawReceiver(t, func(c net.Conn) {
		conn := tls.Server(c, config)
		defer conn.Close()
		if conn.HandshakeContext(t.Context()) != nil {
			return
		}
		requests.Add(1)
		says(text + "\r\n")(conn)
	})
	return secured{addr, &requests}
}
