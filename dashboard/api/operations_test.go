package api

import (
	"github.com/hookpost/hookpost/sender/sendertest"
)

// fail lets all attempts from now on fail.
func fail(w *world) {
	w.receiver.Script(sendertest.Answer{Status: 500, Header: map[string][]string{"X-Why": {"tired"}}, Body: "no <script>"})
}
