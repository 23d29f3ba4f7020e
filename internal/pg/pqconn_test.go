package pg

import (
	"context"
	"database/sql/driver"
	"net"
	"testing"
)

type (
	status  byte
	fakePQ  struct{}
	settled struct{ BinaryParameters bool }
)

func (*fakePQ) Prepare(string) (driver.Stmt, error)                         { return nil, nil }
func (*fakePQ) PrepareContext(context.Context, string) (driver.Stmt, error) { return nil, nil }
func (*fakePQ) Close() error                                                { return nil }
func (*fakePQ) Begin() (driver.Tx, error)                                   { return nil, nil }
func (*fakePQ) CheckNamedValue(*driver.NamedValue) error                    { return nil }

// Another release of lib/pq may have other fields: what cannot be read is not known, and nothing panics.
func TestOtherFieldsOfPQ(t *testing.T) {
	t.Parallel()
	wire, other := net.Pipe()
	defer wire.Close()
	defer other.Close()
	tcp := new(net.TCPConn)
	type embedded = *fakePQ
	var none driver.Conn
	for name, test := range map[string]struct {
		conn any
		want bool
	}{
		"as it is": {conn: &struct {
			embedded
			pid       int
			cfg       settled
			c         net.Conn
			txnStatus status
		}{pid: 7, cfg: settled{true}, c: tcp}, want: true},
		"no fields": {conn: new(fakePQ)},
		"no process id": {conn: &struct {
			embedded
			cfg       settled
			c         net.Conn
			txnStatus status
		}{c: tcp}},
		"a text as process id": {conn: &struct {
			embedded
			pid       string
			cfg       settled
			c         net.Conn
			txnStatus status
		}{c: tcp}},
		"settings behind a pointer": {conn: &struct {
			embedded
			pid       int
			cfg       *settled
			c         net.Conn
			txnStatus status
		}{c: tcp}},
		"no such setting": {conn: &struct {
			embedded
			pid       int
			cfg       struct{ Binary bool }
			c         net.Conn
			txnStatus status
		}{c: tcp}},
		"a socket of a type": {conn: &struct {
			embedded
			pid       int
			cfg       settled
			c         *net.TCPConn
			txnStatus status
		}{c: tcp}},
		"no socket": {conn: &struct {
			embedded
			pid       int
			cfg       settled
			c         net.Conn
			txnStatus status
		}{}},
		"no socket of the system's": {conn: &struct {
			embedded
			pid       int
			cfg       settled
			c         net.Conn
			txnStatus status
		}{c: wire}},
		"a status in words": {conn: &struct {
			embedded
			pid       int
			cfg       settled
			c         net.Conn
			txnStatus string
		}{c: tcp}},
		"no methods": {conn: &struct {
			pid       int
			cfg       settled
			c         net.Conn
			txnStatus status
		}{c: tcp}},
		"a number": {conn: new(int)},
	} {
		got, ok := readPQConn(test.conn)
		if ok != test.want || ok && (got.pid != 7 || !got.binary || got.wire != tcp) {
			t.Errorf("%s: %+v, %t, want %t", name, got, ok, test.want)
		}
	}
	for name, conn := range map[string]any{"nothing": nil, "a nil": none, "another package's": new(fakePQ), "no pointer": fakePQ{}} {
		if isPQConn(conn) {
			t.Errorf("%s: taken for lib/pq's", name)
		}
	}
}
