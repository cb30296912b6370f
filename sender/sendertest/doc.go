// Package sendertest helps to test code that sends webhooks: a receiver on
// loopback and a transport without a network, both of which answer by a script
// and record what they were sent.
//
//	receiver := sendertest.NewReceiver(t, sendertest.Status(500), sendertest.Status(204))
//
// answers the first request with 500 and all later ones with 204: the last
// answer of a script is repeated.
//
// A sender refuses loopback unless told otherwise; [Loopback] is the option for
// sender.Egress. Inside a testing/synctest bubble, where real sockets would keep
// time from passing, use a [Transport].
package sendertest
