//! `[mail]` as meant, and its checks. Knows what an address and a mail server's URL look like; sends nothing.

use std::fmt;
use std::path::PathBuf;

use lettre::message::Mailbox;
use url::{Host, Url};

use super::ConfigError;
use super::raw::RawMail;

/// Where mail goes and what it says about us. The password does not show itself.
#[derive(Clone)]
pub struct MailConfig {
    /// The mail server's name or address.
    pub host: String,
    /// Its TCP port.
    pub port: u16,
    /// How the connection is kept from others.
    pub security: MailSecurity,
    /// PEM file of a further certificate that is trusted.
    pub ca_certificate: Option<PathBuf>,
    /// User and password.
    pub credentials: Option<(String, String)>,
    /// Whom mail is from.
    pub from: Mailbox,
    /// Where answers go, if not to `from`.
    pub reply_to: Option<Mailbox>,
    /// Numbers to dial in by, for rooms that have none of their own.
    pub dial_in: String,
    /// Where one joins with a browser, with `{extension}` and `{token}` to be replaced.
    pub join_url: Option<String>,
    /// Files that replace built-in templates and words.
    pub templates: Option<PathBuf>,
}

/// How a connection to the mail server is kept from others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MailSecurity {
    /// Not at all.
    None,
    /// Begins in the clear and turns to TLS, or ends (RFC 3207).
    StartTls,
    /// TLS from the first byte (RFC 8314 §3.3).
    Tls,
}

impl fmt::Debug for MailConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("MailConfig");
        shown.field("host", &self.host).field("port", &self.port).field("security", &self.security);
        shown.finish_non_exhaustive()
    }
}

/// Checks the section; `fault` makes the error of a key and what is allowed.
pub(super) fn mean(
    raw: &RawMail,
    fault: &dyn Fn(&str, &str) -> ConfigError,
) -> Result<Option<MailConfig>, ConfigError> {
    let mailbox = |key: &str, text: &str| match text {
        "" => Ok(None),
        text => text.parse::<Mailbox>().map(Some).map_err(|_| fault(key, "a mail address, or NAME <ADDRESS>")),
    };
    let from = mailbox("mail.from", &raw.from)?;
    let reply_to = mailbox("mail.reply_to", &raw.reply_to)?;
    let credentials = match (raw.user.as_str(), raw.password.as_str()) {
        ("", "") => None,
        ("", _) => return Err(fault("mail.password", "set together with mail.user")),
        (_, "") => return Err(fault("mail.user", "set together with mail.password")),
        (user, password) => Some((user.to_owned(), password.to_owned())),
    };
    let join_url = Some(raw.join_url.clone()).filter(|url| !url.is_empty());
    if let Some(url) = &join_url {
        let filled = url.replace("{extension}", "900").replace("{token}", "x");
        let is_web = Url::parse(&filled).is_ok_and(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
        if !is_web || url.contains(char::is_whitespace) {
            return Err(fault("mail.join_url", "a URL such as https://conf.example.com/join/{extension}, or empty"));
        }
    }
    if raw.smtp.is_empty() {
        return Ok(None);
    }
    let (host, port, security, is_local) = server(&raw.smtp).map_err(|allowed| fault("mail.smtp", allowed))?;
    let Some(from) = from else {
        return Err(fault("mail.from", "a mail address, or NAME <ADDRESS>; it must be set when mail.smtp is"));
    };
    if credentials.is_some() && security == MailSecurity::None && !is_local {
        let allowed = "smtps:// or smtp+starttls:// when mail.user is set: a password is not sent in the clear";
        return Err(fault("mail.smtp", allowed));
    }
    let path = |text: &str| Some(PathBuf::from(text)).filter(|path| !path.as_os_str().is_empty());
    Ok(Some(MailConfig {
        host,
        port,
        security,
        ca_certificate: path(&raw.ca_certificate),
        credentials,
        from,
        reply_to,
        dial_in: raw.dial_in.clone(),
        join_url,
        templates: path(&raw.templates),
    }))
}

/// Host, port, security, and whether it is this machine.
fn server(text: &str) -> Result<(String, u16, MailSecurity, bool), &'static str> {
    const ALLOWED: &str = "smtps://HOST:PORT, smtp+starttls://HOST:PORT or smtp://HOST:PORT, or empty";
    let url = Url::parse(text).map_err(|_| ALLOWED)?;
    let (security, port) = match url.scheme() {
        "smtps" => (MailSecurity::Tls, 465),
        "smtp+starttls" => (MailSecurity::StartTls, 587),
        "smtp" => (MailSecurity::None, 25),
        _ => return Err(ALLOWED),
    };
    if !url.username().is_empty() || url.password().is_some() {
        return Err("a URL without a user or a password: mail.user and mail.password have them");
    }
    if !matches!(url.path(), "" | "/") || url.query().is_some() || url.fragment().is_some() {
        return Err(ALLOWED);
    }
    // A scheme that the standard does not know keeps its host as it is written: an address is looked for again.
    let written = url.host_str().filter(|host| !host.is_empty()).ok_or(ALLOWED)?;
    let (host, is_local) = match Host::parse(written).map_err(|_| ALLOWED)? {
        Host::Domain(name) => (name.clone(), name == "localhost"),
        Host::Ipv4(address) => (address.to_string(), address.is_loopback()),
        Host::Ipv6(address) => (address.to_string(), address.is_loopback()),
    };
    Ok((host, url.port().unwrap_or(port), security, is_local))
}
