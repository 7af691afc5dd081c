//! What a person reads after the start: what the server did, where it is, how to make the first room. On standard
//! output, as the log has standard error.

use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};

use control::Server;
use control::config::Config;

use crate::Outcome;
use crate::data_dir::DataDir;

/// Prints it; the admin token only when this start made it.
pub(crate) fn print(config: &Config, data_dir: &DataDir, server: &Server) -> Outcome<()> {
    let api = reachable(config.api.listen);
    let sip = SocketAddr::new(
        config.sip.advertise.unwrap_or_else(|| reachable(config.sip.listen).ip()),
        config.sip.listen.port(),
    );
    let transports = match (config.sip.udp, config.sip.tcp) {
        (true, true) => "UDP and TCP",
        (true, false) => "UDP",
        _ => "TCP",
    };
    let allow = match config.sip.allow.as_slice() {
        [] => "nobody: sip.allow is empty".to_owned(),
        networks => networks.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "),
    };
    let scheme = if config.api.listens_with_tls() { "https" } else { "http" };
    let (lo, hi) = (config.media.rtp_ports.start(), config.media.rtp_ports.end());
    let (workers, legs) = (config.media.workers, config.server.max_participants);
    let data = data_dir.path().display();
    let token_path = data_dir.admin_token_path();
    let token_path = token_path.display();

    let mut out = std::io::stdout().lock();
    writeln!(out, "Conclave {} is running.", env!("CARGO_PKG_VERSION"))?;
    writeln!(out, "  dial     sip:EXTENSION@{sip} ({transports}), from {allow}")?;
    writeln!(out, "  media    UDP ports {lo}-{hi}, {workers} media threads, up to {legs} participants")?;
    writeln!(out, "  API      {scheme}://{api}/api, token in {token_path}")?;
    if let Some(secure) = server.tls_address() {
        writeln!(out, "           https://{}/api", reachable(secure))?;
    }
    if config.api.is_exposed() {
        writeln!(
            out,
            "  WARNING  the API listens beyond this machine without TLS: passwords and tokens can be read on the"
        )?;
        writeln!(
            out,
            "           way (set api.tls_certificate and api.tls_key, or put a proxy that speaks TLS in front)"
        )?;
    }
    writeln!(out, "  data     {data}")?;
    writeln!(
        out,
        "  stop     Ctrl-C or SIGTERM, which waits up to {} s for calls to end",
        config.drain.grace.as_secs()
    )?;
    if let Some(token) = server.first_admin_token() {
        writeln!(out, "\nThis is the first start. The admin token, shown only now:\n\n  {token}")?;
        writeln!(out, "\nMake the first room, then dial sip:900@{sip}:\n")?;
        writeln!(out, "  curl -sS {scheme}://{api}/api/conference_rooms \\")?;
        writeln!(out, "    -H \"Authorization: Bearer $(cat '{token_path}')\" -H 'Content-Type: application/json' \\")?;
        writeln!(
            out,
            "    -d '{{\"extension_number\":\"900\",\"mode\":\"AUDIO\",\"subject\":\"First room\",\"capacity\":50}}'"
        )?;
    }
    Ok(out.flush()?)
}

/// Where others can reach what listens here: for `0.0.0.0` or `[::]` the address of the way out.
fn reachable(listen: SocketAddr) -> SocketAddr {
    if !listen.ip().is_unspecified() {
        return listen;
    }
    // Connecting a UDP socket sends nothing; it asks the routing table (TEST-NET-1, RFC 5737).
    let outward = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))
        .and_then(|socket| socket.connect((Ipv4Addr::new(192, 0, 2, 1), 9)).and_then(|()| socket.local_addr()));
    let ip = outward.map_or(IpAddr::V4(Ipv4Addr::LOCALHOST), |local| local.ip());
    SocketAddr::new(ip, listen.port())
}
