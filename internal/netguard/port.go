package netguard

import (
	"fmt"
	"net/netip"
	"slices"
)

// servicePorts are ports above 1023 on which something other than a web server
// usually listens. A POST to one of them reaches software that may act on a line
// it finds in the body, which the sender of the event chooses. Among them are the bad
// ports of the Fetch standard.
var servicePorts = map[uint16]string{
	1080:  "SOCKS",
	1433:  "SQL Server",
	1434:  "SQL Server",
	1521:  "Oracle Database",
	1719:  "H.323",
	1720:  "H.323",
	1723:  "PPTP",
	1883:  "MQTT",
	2049:  "NFS",
	2181:  "ZooKeeper",
	2375:  "Docker",
	2376:  "Docker",
	2377:  "Docker Swarm",
	2379:  "etcd",
	2380:  "etcd",
	3128:  "an HTTP proxy",
	3268:  "Active Directory",
	3269:  "Active Directory",
	3306:  "MySQL",
	3389:  "remote desktop",
	3659:  "SASL",
	4045:  "an NFS lock manager",
	4190:  "Sieve",
	4222:  "NATS",
	4369:  "Erlang port mapper",
	4505:  "Salt",
	4506:  "Salt",
	4646:  "Nomad",
	4647:  "Nomad",
	4648:  "Nomad",
	5060:  "SIP",
	5061:  "SIP",
	5432:  "PostgreSQL",
	5439:  "Redshift",
	5555:  "Android debug bridge",
	5601:  "Kibana",
	5671:  "AMQP",
	5672:  "AMQP",
	5900:  "VNC",
	5901:  "VNC",
	5984:  "CouchDB",
	5985:  "Windows remote management",
	5986:  "Windows remote management",
	6000:  "X11",
	6001:  "X11",
	6222:  "NATS",
	6379:  "Redis",
	6380:  "Redis",
	6432:  "PgBouncer",
	6443:  "Kubernetes",
	6566:  "a scanner",
	6665:  "IRC",
	6666:  "IRC",
	6667:  "IRC",
	6668:  "IRC",
	6669:  "IRC",
	6679:  "IRC",
	6697:  "IRC",
	7199:  "Cassandra",
	7474:  "Neo4j",
	7687:  "Neo4j",
	8086:  "InfluxDB",
	8200:  "Vault",
	8300:  "Consul",
	8301:  "Consul",
	8302:  "Consul",
	8500:  "Consul",
	8501:  "Consul",
	8529:  "ArangoDB",
	9042:  "Cassandra",
	9092:  "Kafka",
	9093:  "Kafka",
	9160:  "Cassandra",
	9200:  "Elasticsearch",
	9300:  "Elasticsearch",
	9418:  "git",
	10080: "Amanda",
	10250: "Kubernetes",
	10255: "Kubernetes",
	11211: "memcached",
	15672: "RabbitMQ",
	26257: "CockroachDB",
	26379: "Redis Sentinel",
	27017: "MongoDB",
	27018: "MongoDB",
	27019: "MongoDB",
	28017: "MongoDB",
	33060: "MySQL",
	50000: "Db2",
}

// forbidsPort returns why port must not be dialled at addr, or "".
func (p *Policy) forbidsPort(addr netip.Addr, port uint16) string {
	if len(p.Ports) > 0 {
		if slices.Contains(p.Ports, port) {
			return ""
		}
		return fmt.Sprintf("port %d is not among the allowed ports", port)
	}
	switch port {
	case 80, 443, 8080, 8443:
		return ""
	}
	if port < 1024 {
		return fmt.Sprintf("port %d is not allowed; use 80, 443, 8080, 8443 or one above 1023", port)
	}
	if service, found := servicePorts[port]; found && !p.allows(addr.Unmap()) {
		return fmt.Sprintf("port %d is usually %s", port, service)
	}
	return ""
}
