//! Where a name's SIP requests go (RFC 3263): its SRV records in their order, or its addresses. Asks the system's resolver,
//! so it may take seconds; runs in the task of whoever calls or registers. NAPTR is not asked: a trunk's transport is a setting.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use hickory_resolver::TokioResolver;
use hickory_resolver::proto::rr::RData;
use tokio::time::timeout;
use tracing::debug;

use super::address::Transport;
use super::flow::canonical;
use crate::dialing::TransportChoice;

/// Longest wait for one question.
const RESOLVE_TIME: Duration = Duration::from_secs(3);
/// Addresses tried for one request; more would not be waited for.
const MAX_LEADS: usize = 8;
/// SRV records looked at.
const MAX_RECORDS: usize = 16;

/// One address to try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Lead {
    pub(super) address: SocketAddr,
    pub(super) transport: Transport,
}

/// A SRV record as far as it matters.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Record {
    priority: u16,
    weight: u16,
    port: u16,
    target: String,
}

/// The resolver.
pub(super) struct Names {
    /// `None` where the system's configuration cannot be read: then there are addresses only.
    resolver: Option<TokioResolver>,
}

impl std::fmt::Debug for Names {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Names")
    }
}

impl Names {
    /// As the system is configured.
    pub(super) fn of_the_system() -> Self {
        let resolver = TokioResolver::builder_tokio().and_then(|builder| builder.build());
        let resolver = resolver.inspect_err(|error| debug!(%error, "SRV records cannot be asked for")).ok();
        Self { resolver }
    }

    #[cfg(test)]
    pub(super) fn with(resolver: TokioResolver) -> Self {
        Self { resolver: Some(resolver) }
    }

    /// The addresses of `host`, the first to be tried first. The text says why there are none.
    pub(super) async fn leads(
        &self,
        host: &str,
        port: Option<u16>,
        choice: TransportChoice,
    ) -> Result<Vec<Lead>, String> {
        let usual = match choice {
            TransportChoice::Auto | TransportChoice::Udp => Transport::Udp,
            TransportChoice::Tcp => Transport::Tcp,
        };
        if let Ok(ip) = host.parse::<IpAddr>() {
            let address = canonical(SocketAddr::new(ip, port.unwrap_or(5060)));
            return Ok(vec![Lead { address, transport: usual }]);
        }
        if port.is_none() {
            let asked: &[Transport] = match choice {
                TransportChoice::Auto => &[Transport::Udp, Transport::Tcp],
                TransportChoice::Udp => &[Transport::Udp],
                TransportChoice::Tcp => &[Transport::Tcp],
            };
            for transport in asked {
                let records = self.records(host, *transport).await;
                let leads = follow(records, *transport).await;
                if !leads.is_empty() {
                    return Ok(leads);
                }
            }
        }
        let found = addresses(host, port.unwrap_or(5060)).await?;
        Ok(found.into_iter().take(MAX_LEADS).map(|address| Lead { address, transport: usual }).collect())
    }

    async fn records(&self, host: &str, transport: Transport) -> Vec<Record> {
        let Some(resolver) = &self.resolver else { return Vec::new() };
        // Absolute, so that no search list is tried.
        let name = format!("_sip._{}.{}.", transport.label(), host.trim_end_matches('.'));
        let found = match timeout(RESOLVE_TIME, resolver.srv_lookup(name.as_str())).await {
            Ok(Ok(found)) => found,
            Ok(Err(error)) => {
                debug!(%name, %error, "no SRV records");
                return Vec::new();
            }
            Err(_) => {
                debug!(%name, "SRV records did not come in time");
                return Vec::new();
            }
        };
        let records = found.answers().iter().filter_map(|record| match &record.data {
            RData::SRV(srv) => Some(Record {
                priority: srv.priority,
                weight: srv.weight,
                port: srv.port,
                target: srv.target.to_ascii(),
            }),
            _ => None,
        });
        let records = records.filter(|r| r.target != "." && r.port != 0).take(MAX_RECORDS).collect();
        ordered(records, random_below)
    }
}

async fn follow(records: Vec<Record>, transport: Transport) -> Vec<Lead> {
    let mut leads = Vec::new();
    for record in records {
        if let Ok(found) = addresses(record.target.trim_end_matches('.'), record.port).await {
            leads.extend(found.into_iter().map(|address| Lead { address, transport }));
        }
        if leads.len() >= MAX_LEADS {
            break;
        }
    }
    leads.truncate(MAX_LEADS);
    leads
}

async fn addresses(host: &str, port: u16) -> Result<Vec<SocketAddr>, String> {
    match timeout(RESOLVE_TIME, tokio::net::lookup_host((host, port))).await {
        Ok(Ok(found)) => Ok(found.map(canonical).collect()),
        Ok(Err(error)) => Err(format!("{host} has no address: {error}")),
        Err(_) => Err(format!("{host} was not resolved in time")),
    }
}

/// By priority, and within one by chance in proportion to the weights (RFC 2782). `random(n)` is in 0..n.
fn ordered(mut records: Vec<Record>, mut random: impl FnMut(u32) -> u32) -> Vec<Record> {
    // Zero weights first, so that they have their small chance.
    records.sort_by_key(|r| (r.priority, r.weight));
    let mut out = Vec::with_capacity(records.len());
    while let Some(priority) = records.first().map(|r| r.priority) {
        let alike = records.iter().take_while(|r| r.priority == priority);
        let total: u32 = alike.clone().map(|r| u32::from(r.weight)).sum();
        let mark = random(total + 1);
        let mut sum = 0;
        let at = alike.clone().position(|r| {
            sum += u32::from(r.weight);
            sum >= mark
        });
        out.push(records.remove(at.unwrap_or(0)));
    }
    out
}

fn random_below(limit: u32) -> u32 {
    // Without randomness the order is still right by priority.
    getrandom::u32().map_or(0, |n| n % limit.max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(priority: u16, weight: u16, target: &str) -> Record {
        Record { priority, weight, port: 5060, target: target.to_owned() }
    }

    fn targets(records: Vec<Record>, random: impl FnMut(u32) -> u32) -> String {
        ordered(records, random).into_iter().map(|r| r.target).collect()
    }

    #[test]
    fn priority_comes_before_weight_and_weight_before_chance() {
        let records = || vec![record(20, 0, "d"), record(10, 60, "b"), record(10, 0, "a"), record(10, 40, "c")];
        assert_eq!(targets(records(), |_| 0), "acbd");
        assert_eq!(targets(records(), |below| below - 1), "bcad");
        assert_eq!(targets(records(), |below| below / 2), "bcad");
        assert_eq!(targets(Vec::new(), |_| 0), "");
    }

    #[test]
    fn weights_are_shares_of_the_first_tries() {
        let mut seed = 1u32;
        let mut random = |below: u32| {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            ((u64::from(seed) * u64::from(below)) >> 32) as u32
        };
        let first = (0..4000).filter(|_| targets(vec![record(1, 75, "a"), record(1, 25, "b")], &mut random) == "ab");
        assert!((2800..3200).contains(&first.count()));
    }

    /// Priority, weight, port and target.
    type Srv = (u16, u16, u16, &'static str);

    /// A name server of one zone, written by hand: SRV records by name, everything else does not exist.
    async fn serve(socket: tokio::net::UdpSocket, zone: Vec<(&'static str, Vec<Srv>)>) {
        let mut buffer = [0; 512];
        while let Ok((len, from)) = socket.recv_from(&mut buffer).await {
            let query = buffer.get(..len).unwrap();
            // One question after 12 bytes: labels, a zero, type and class.
            let end = 12 + query[12..].iter().position(|b| *b == 0).unwrap() + 5;
            let mut name = String::new();
            let mut at = 12;
            while query[at] != 0 {
                let label = &query[at + 1..=at + usize::from(query[at])];
                name.push_str(&String::from_utf8_lossy(label).to_ascii_lowercase());
                name.push('.');
                at += usize::from(query[at]) + 1;
            }
            let found = zone.iter().find(|(zone_name, _)| *zone_name == name).map(|(_, records)| records.clone());
            let records = found.unwrap_or_default();
            let mut answer = query[..2].to_vec();
            answer.extend([
                0x85,
                if records.is_empty() { 0x83 } else { 0x80 },
                0,
                1,
                0,
                records.len() as u8,
                0,
                0,
                0,
                0,
            ]);
            answer.extend(&query[12..end]);
            for (priority, weight, port, target) in records {
                let mut data = Vec::new();
                [priority, weight, port].iter().for_each(|n| data.extend(n.to_be_bytes()));
                for label in target.split('.').filter(|l| !l.is_empty()) {
                    data.push(label.len() as u8);
                    data.extend(label.as_bytes());
                }
                data.push(0);
                answer.extend([0xc0, 12, 0, 33, 0, 1, 0, 0, 0, 60]);
                answer.extend((data.len() as u16).to_be_bytes());
                answer.extend(data);
            }
            socket.send_to(&answer, from).await.unwrap();
        }
    }

    #[tokio::test]
    async fn srv_records_name_hosts_ports_and_the_transport() {
        use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolverConfig};
        let socket = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let at = socket.local_addr().unwrap();
        let zone = vec![
            ("_sip._udp.both.test.", vec![(20, 0, 5062, "localhost."), (10, 0, 5061, "127.0.0.1.")]),
            ("_sip._tcp.both.test.", vec![(10, 0, 5063, "localhost.")]),
            ("_sip._tcp.tcp.test.", vec![(10, 0, 5064, "localhost.")]),
            ("_sip._udp.none.test.", vec![(0, 0, 0, ".")]),
        ];
        tokio::spawn(serve(socket, zone));
        let mut connection = ConnectionConfig::udp();
        connection.port = at.port();
        let server = NameServerConfig::new(at.ip(), true, vec![connection]);
        let config = ResolverConfig::from_parts(None, Vec::new(), vec![server]);
        let provider = hickory_resolver::net::runtime::TokioRuntimeProvider::default();
        let names = Names::with(TokioResolver::builder_with_config(config, provider).build().unwrap());
        let ports = async |host: &str, choice| match names.leads(host, None, choice).await {
            Ok(leads) => {
                let mut found: Vec<_> = leads.iter().map(|l| (l.address.port(), l.transport)).collect();
                found.dedup();
                found
            }
            Err(_) => Vec::new(),
        };
        let udp = [(5061, Transport::Udp), (5062, Transport::Udp)];
        assert_eq!(ports("both.test", TransportChoice::Auto).await, udp);
        assert_eq!(ports("both.test", TransportChoice::Tcp).await, [(5063, Transport::Tcp)]);
        assert_eq!(ports("tcp.test", TransportChoice::Auto).await, [(5064, Transport::Tcp)]);
        // A target that is no name is not followed; without records it is the name's own address.
        assert_eq!(ports("none.test", TransportChoice::Udp).await, []);
        assert_eq!(ports("localhost", TransportChoice::Udp).await, [(5060, Transport::Udp)]);
    }

    #[tokio::test]
    async fn addresses_need_no_names_and_the_port_has_its_default() {
        let names = Names { resolver: None };
        let one = |address: &str, transport| Ok(vec![Lead { address: address.parse().unwrap(), transport }]);
        assert_eq!(names.leads("10.0.0.1", None, TransportChoice::Auto).await, one("10.0.0.1:5060", Transport::Udp));
        assert_eq!(names.leads("::1", Some(7), TransportChoice::Tcp).await, one("[::1]:7", Transport::Tcp));
        let local = names.leads("localhost", Some(9), TransportChoice::Udp).await.unwrap();
        assert!(local.iter().all(|l| l.address.ip().is_loopback() && l.address.port() == 9), "{local:?}");
        let none = names.leads("no-such-host.invalid", Some(9), TransportChoice::Udp).await;
        assert!(none.is_err(), "{none:?}");
    }
}
