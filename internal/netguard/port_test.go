package netguard

import (
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"
)

// The ports above 1023 that the Fetch standard blocks ("bad ports"). Those below are
// refused with all others.
func TestBadPortsOfFetch(t *testing.T) {
	public := netip.MustParseAddr("93.184.216.34")
	for _, port := range []uint16{
		1719, 1720, 1723, 2049, 3659, 4045, 4190, 5060, 5061, 6000, 6566, 6665, 6666, 6667, 6668, 6669, 6679, 6697, 10080,
	} {
		for _, addr := range []netip.Addr{public, {}, netip.MustParseAddr("2606:4700::1111")} {
			require.ErrorIs(t, (&Policy{}).CheckPort(addr, port), ErrBlocked, port)
		}
		require.NoError(t, (&Policy{Allow: prefixes("93.184.216.0/24")}).CheckPort(public, port), "inside Allow: %d", port)
		require.NoError(t, (&Policy{Ports: []uint16{port}}).CheckPort(public, port), "named: %d", port)
	}
	for _, port := range []uint16{1024, 1718, 3000, 4000, 4191, 5000, 5059, 5062, 6567, 6664, 6670, 6698, 8000, 8081, 8888, 9000, 10079, 10081} {
		require.NoError(t, (&Policy{}).CheckPort(public, port), port)
	}
}
