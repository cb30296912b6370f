package keyring_test

import (
	"fmt"

	"github.com/hookpost/hookpost/store/keyring"
)

func Example() {
	// From the environment in practice: keyring.ParseKeys(os.Getenv("WEBHOOK_KEYS")).
	keys, err := keyring.ParseKeys("2026-11:0eSuGY5bDrDbLbBWrVvJdhXcFSZFzwEaMvONs6WwS8E=," +
		"2026-10:5yZ8bwfRcXfNCCDRVHNSUaGXQxZJcAUP2vWlvJ9vBkA=")
	if err != nil {
		fmt.Println(err)
		return
	}
	ring, err := keyring.New(keys...)
	if err != nil {
		fmt.Println(err)
		return
	}

	kid, sealed, err := ring.Seal(nil, []byte("whsec_..."), []byte("ep_1"))
	fmt.Println(kid, len(sealed), err)

	secret, err := ring.Open(nil, kid, sealed, []byte("ep_1"))
	fmt.Printf("%s %v\n", secret, err)

	_, err = ring.Open(nil, "2026-09", sealed, []byte("ep_1"))
	fmt.Println(err)
	// Output:
	// 2026-11 38 <nil>
	// whsec_... <nil>
	// keyring: unknown key: the value was sealed under key "2026-09", and this ring has ["2026-11" "2026-10"]
}

func ExampleGenerateKey() {
	key, err := keyring.GenerateKey("2026-11")
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(key)               // what a log would show
	fmt.Println(len(key.Reveal())) // what to keep in the environment
	// Output:
	// 2026-11:[redacted]
	// 52
}
