package main

import (
	"regexp"
	"testing"
)

func TestLettersHaveTheirSize(t *testing.T) {
	for _, size := range letterSizes {
		if got := len(newLetter(size.bytes).Body); got != size.bytes {
			t.Errorf("the letter of %s has %d bytes", size.name, got)
		}
	}
}

func TestOperationsDoWhatTheyAreMeasuredFor(t *testing.T) {
	lib, err := newLibraries()
	if err != nil {
		t.Fatal(err)
	}
	ops := signatureOperations(&config{form: onceForm, only: regexp.MustCompile("")}, lib)
	if want := len(letterSizes)*(9+3+7) + 8; len(ops) != want {
		t.Errorf("%d operations, want %d", len(ops), want)
	}
	for _, op := range ops {
		t.Run(op.name, func(t *testing.T) {
			op.letter.sign(lib)
			if err := op.task.do(op.letter); err != nil {
				t.Fatal(err)
			}
			if op.task.check == nil {
				return
			}
			if err := op.task.check(op.letter); err != nil {
				t.Error(err)
			}
			if op.base == nil && op.task.name != floorTask {
				t.Error("it is compared with nothing")
			}
		})
	}
}
