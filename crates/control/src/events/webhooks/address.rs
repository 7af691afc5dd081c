//! Where webhooks may be: the public internet, unless the settings say that private networks are meant. A server that calls
//! any address that somebody types in would reach what only it can reach. Names are resolved here, every answer is checked,
//! and the connection goes to an answer that was checked: between the check and the call no one is asked again.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use url::{Host, Url};

/// Longer ones are no addresses of anything.
const MAX_URL_BYTES: usize = 2048;

/// The URL as it is kept, when a webhook may be there as far as the text says; a name is judged when it is called.
///
/// # Errors
/// What is allowed, to follow the field's name.
pub(crate) fn checked_url(text: &str, allow_private: bool) -> Result<String, String> {
    let rule = || "must be an http or https URL without a user, a password or a fragment".to_owned();
    let url = Url::parse(text.trim()).map_err(|_| rule())?;
    let is_plain = url.username().is_empty() && url.password().is_none() && url.fragment().is_none();
    if !matches!(url.scheme(), "http" | "https") || !is_plain || url.port() == Some(0) {
        return Err(rule());
    }
    if url.as_str().len() > MAX_URL_BYTES {
        return Err(format!("must have at most {MAX_URL_BYTES} bytes"));
    }
    check_host(&url, allow_private).map_err(|refusal| format!("{refusal}, which webhooks.allow_private permits"))?;
    Ok(url.into())
}

/// What a URL itself says of its host: an address is checked, a name is left to the resolver, but for those that can only
/// mean this machine.
pub(super) fn check_host(url: &Url, allow_private: bool) -> Result<(), String> {
    let refused = || format!("must not lead to {}", url.host_str().unwrap_or_default());
    let is_public = match url.host() {
        Some(Host::Ipv4(address)) => is_public(address.into()),
        Some(Host::Ipv6(address)) => is_public(address.into()),
        Some(Host::Domain(name)) => {
            let name = name.trim_end_matches('.');
            name != "localhost" && !name.ends_with(".localhost")
        }
        None => return Err("must have a host".to_owned()),
    };
    if is_public || allow_private { Ok(()) } else { Err(refused()) }
}

/// Reachable by everyone, by the IANA registries of special-purpose addresses: nothing of this machine, of private, shared
/// or local networks, of documentation or tests, no group, and nothing that holds such an address in another one.
pub(super) fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => is_public_v4(v4),
        IpAddr::V6(v6) => is_public_v6(v6),
    }
}

/// <https://www.iana.org/assignments/iana-ipv4-special-registry>
fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    !matches!(
        (a, b, c),
        // This network, private use, loopback.
        (0 | 10 | 127, _, _)
        // Shared by carriers.
        | (100, 64..=127, _)
        | (169, 254, _)
        | (172, 16..=31, _)
        // Protocol assignments, documentation, 6to4's anycast relay.
        | (192, 0, 0 | 2)
        | (192, 88, 99)
        | (192, 168, _)
        // Benchmarks, documentation.
        | (198, 18 | 19, _)
        | (198, 51, 100)
        | (203, 0, 113)
        // Multicast, reserved, broadcast.
        | (224..=255, _, _)
    )
}

/// <https://www.iana.org/assignments/iana-ipv6-special-registry>
fn is_public_v6(address: Ipv6Addr) -> bool {
    let [a, b, c, d, e, f, g, h] = address.segments();
    let v4 = |high: u16, low: u16| {
        let ([w, x], [y, z]) = (high.to_be_bytes(), low.to_be_bytes());
        Ipv4Addr::new(w, x, y, z)
    };
    if let Some(mapped) = address.to_ipv4_mapped() {
        return is_public_v4(mapped);
    }
    match (a, b) {
        // NAT64's well-known prefix (RFC 6052), and nothing else of its block.
        (0x64, 0xff9b) => [c, d, e, f] == [0; 4] && is_public_v4(v4(g, h)),
        // 6to4 (RFC 3056).
        (0x2002, _) => is_public_v4(v4(b, c)),
        // Protocol assignments, Teredo and ORCHID among them; documentation.
        (0x2001, 0..=0x01ff | 0xdb8) => false,
        (0x3fff, 0..=0x0fff) => false,
        // What an interface makes of an IPv4 address (ISATAP, RFC 5214 §6.1).
        (0x2000..=0x3fff, _) => {
            let is_isatap = matches!(e, 0 | 0x200) && f == 0x5efe;
            !is_isatap || is_public_v4(v4(g, h))
        }
        // Only 2000::/3 is handed out (RFC 4291 §2.4): no loopback, unique local, link-local or multicast address is in it.
        _ => false,
    }
}

/// Resolves names for the HTTP client, and hands it addresses that it may call.
#[derive(Clone, Debug)]
pub(super) struct CheckedNames {
    pub(super) allow_private: bool,
    pub(super) source: NameSource,
}

/// Who knows the addresses of names.
#[derive(Clone, Debug)]
pub(super) enum NameSource {
    /// The system.
    System,
    /// These answers, one after the other.
    #[cfg(test)]
    Answers(std::sync::Arc<std::sync::Mutex<std::collections::VecDeque<Vec<IpAddr>>>>),
}

impl NameSource {
    async fn lookup(&self, name: &str) -> std::io::Result<Vec<IpAddr>> {
        match self {
            Self::System => Ok(tokio::net::lookup_host((name, 0)).await?.map(|address| address.ip()).collect()),
            #[cfg(test)]
            Self::Answers(answers) => Ok(answers.lock().unwrap().pop_front().expect("one more answer")),
        }
    }
}

impl CheckedNames {
    /// The addresses of a name, all of which may be called.
    ///
    /// # Errors
    /// When there are none, or one of them may not be called: a name that means both is a trick or a mistake.
    pub(super) async fn addresses(&self, name: &str) -> Result<Vec<IpAddr>, String> {
        let found = self.source.lookup(name).await.map_err(|e| format!("{name} cannot be resolved: {e}"))?;
        if found.is_empty() {
            return Err(format!("{name} has no address"));
        }
        match found.iter().find(|address| !self.allow_private && !is_public(**address)) {
            None => Ok(found),
            Some(address) => {
                Err(format!("{name} leads to {address}, which is not public; webhooks.allow_private permits it"))
            }
        }
    }
}

impl Resolve for CheckedNames {
    fn resolve(&self, name: Name) -> Resolving {
        let names = self.clone();
        Box::pin(async move {
            let addresses = names.addresses(name.as_str()).await?;
            // Port 0: the URL's.
            let addresses = addresses.into_iter().map(|address| SocketAddr::new(address, 0));
            Ok(Box::new(addresses) as Addrs)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_public_addresses_are_public() {
        for public in "1.1.1.1 8.8.8.8 9.255.255.255 11.0.0.0 100.63.255.255 100.128.0.0 126.255.255.255 128.0.0.0 \
             169.253.0.0 169.255.0.0 172.15.255.255 172.32.0.0 192.0.1.0 192.0.3.0 192.167.255.255 \
             192.169.0.0 198.17.255.255 198.20.0.0 198.51.99.0 203.0.114.0 223.255.255.255 2606:4700::1111 \
             2001:4860:4860::8888 2001:200::1 3ffe::1 64:ff9b::101:101 2002:101:101::1 ::ffff:1.1.1.1 \
             2606::5efe:101:101"
            .split(' ')
        {
            assert!(is_public(public.parse().unwrap()), "{public}");
        }
        for other in "0.0.0.0 0.1.2.3 10.0.0.1 10.255.255.255 100.64.0.1 100.127.255.255 127.0.0.1 127.255.255.255 \
             169.254.169.254 172.16.0.1 172.31.255.255 192.0.0.8 192.0.2.1 192.88.99.1 192.168.1.1 \
             198.18.0.1 198.19.255.255 198.51.100.1 203.0.113.1 224.0.0.1 239.255.255.255 240.0.0.1 \
             255.255.255.255 :: ::1 ::7f00:1 ::ffff:127.0.0.1 ::ffff:10.0.0.1 ::ffff:169.254.169.254 \
             ::ffff:0:7f00:1 64:ff9b::7f00:1 64:ff9b::a9fe:a9fe 64:ff9b::1:101:101 64:ff9b:1::1 100::1 \
             2001::1 2001:2::1 2001:10::1 2001:1ff::1 2001:db8::1 2002:7f00:1::1 2002:a00:1::1 \
             2002:c0a8:101::1 2606::5efe:a00:1 2606::200:5efe:7f00:1 3fff::1 3fff:fff::1 4000::1 5f00::1 \
             fc00::1 fd12:3456::1 fe80::1 febf::1 fec0::1 ff02::1 ff0e::1"
            .split(' ')
        {
            assert!(!is_public(other.parse().unwrap()), "{other}");
        }
    }

    #[test]
    fn urls_are_checked_before_anything_is_sent() {
        for (text, kept) in [
            ("https://example.com", "https://example.com/"),
            (" http://EXAMPLE.com:8080/a?b=c ", "http://example.com:8080/a?b=c"),
            ("https://1.1.1.1/x", "https://1.1.1.1/x"),
            ("https://[2606:4700::1111]/", "https://[2606:4700::1111]/"),
        ] {
            assert_eq!(checked_url(text, false).as_deref(), Ok(kept), "{text}");
        }
        let long = format!("https://example.com/{}", "x".repeat(MAX_URL_BYTES));
        for wrong in [
            "",
            "example.com",
            "/path",
            "ftp://example.com/",
            "file:///etc/passwd",
            "https://",
            "https://user@example.com/",
            "https://user:secret@example.com/",
            "https://:secret@example.com/",
            "https://example.com/#part",
            "http://example.com:0/",
            "https://exa mple.com/",
            &long,
        ] {
            assert!(checked_url(wrong, true).is_err(), "{wrong}");
        }
        // Other spellings of an address are that address.
        for private in [
            "http://127.0.0.1/",
            "http://127.1/",
            "http://0x7f.1/",
            "http://2130706433/",
            "http://0177.0.0.1/",
            "http://127。0。0。1/",
            "http://[::1]/",
            "http://[::ffff:127.0.0.1]/",
            "http://localhost/",
            "http://LOCALHOST./",
            "http://a.localhost:80/",
            "http://169.254.169.254/latest/meta-data",
            "http://0/",
            "http://10.0.0.1:8887/",
        ] {
            let refusal = checked_url(private, false).unwrap_err();
            assert!(refusal.contains("webhooks.allow_private"), "{private}: {refusal}");
            assert!(checked_url(private, true).is_ok(), "{private}");
        }
    }

    fn names(answers: &[&[&str]]) -> CheckedNames {
        let answers = answers.iter().map(|answer| answer.iter().map(|ip| ip.parse().unwrap()).collect()).collect();
        CheckedNames {
            allow_private: false,
            source: NameSource::Answers(std::sync::Arc::new(std::sync::Mutex::new(answers))),
        }
    }

    #[tokio::test]
    async fn every_answer_of_every_lookup_is_checked() {
        // A name that is public when it is first asked for, and this machine afterwards.
        let rebound = names(&[&["1.1.1.1", "2606:4700::1111"], &["127.0.0.1"], &["1.1.1.1", "10.0.0.1"], &[]]);
        assert_eq!(rebound.addresses("rebind.example").await.unwrap().len(), 2);
        for reason in ["127.0.0.1, which is not public", "10.0.0.1, which is not public", "has no address"] {
            let refusal = rebound.addresses("rebind.example").await.unwrap_err();
            assert!(refusal.contains("rebind.example") && refusal.contains(reason), "{refusal}");
        }
        let permitted = CheckedNames { allow_private: true, ..names(&[&["127.0.0.1"]]) };
        assert_eq!(permitted.addresses("inside.example").await.unwrap().len(), 1);
    }
}
