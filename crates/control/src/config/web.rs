//! How the API is reached: its certificate, the address of HTTPS, and what people type. Reads no file.

use std::net::SocketAddr;
use std::path::Path;

use url::Url;

use super::meaning::Check;
use super::raw::RawApi;
use super::{ConfigError, TlsConfig};

impl Check<'_> {
    pub(super) fn tls(
        &self,
        api: &RawApi,
        data_dir: &Path,
        public_url: &str,
    ) -> Result<Option<TlsConfig>, ConfigError> {
        let allowed = "files that go together: api.tls_certificate and api.tls_key both set, or both empty";
        match (api.tls_certificate.as_str(), api.tls_key.as_str()) {
            ("", "") if api.tls_self_signed => {
                let host = Url::parse(public_url).ok().and_then(|url| url.host_str().map(str::to_owned));
                let dir = data_dir.join("tls");
                Ok(Some(TlsConfig {
                    certificate: dir.join("self-signed.pem"),
                    key: dir.join("self-signed.key"),
                    self_signed: Some(host.into_iter().collect()),
                }))
            }
            ("", "") => Ok(None),
            (_, "") => Err(self.fault("api.tls_certificate", allowed)),
            ("", _) => Err(self.fault("api.tls_key", allowed)),
            _ if api.tls_self_signed => {
                Err(self.fault("api.tls_self_signed", "false when api.tls_certificate names a certificate"))
            }
            (certificate, key) => {
                Ok(Some(TlsConfig { certificate: certificate.into(), key: key.into(), self_signed: None }))
            }
        }
    }

    pub(super) fn tls_listen(&self, api: &RawApi, has_certificate: bool) -> Result<Option<SocketAddr>, ConfigError> {
        let allowed = "an address with a port, such as 0.0.0.0:8443, or empty";
        let address = self.optional::<SocketAddr>("api.tls_listen", &api.tls_listen, allowed)?;
        let is_served = address.is_none() || has_certificate;
        self.that("api.tls_listen", is_served, "empty without api.tls_certificate or api.tls_self_signed")?;
        Ok(address)
    }

    /// As given, without a slash at its end.
    pub(super) fn public_url(&self, text: &str) -> Result<String, ConfigError> {
        let allowed = "an address without a path, such as https://conference.example.org:8443, or empty";
        if text.is_empty() {
            return Ok(String::new());
        }
        let url = Url::parse(text)
            .ok()
            .filter(|url| matches!(url.scheme(), "https" | "http") && url.host().is_some() && url.path() == "/");
        let url = url.filter(|url| url.query().is_none() && url.fragment().is_none() && url.username().is_empty());
        let url = url.ok_or_else(|| self.fault("api.public_url", allowed))?;
        Ok(url.as_str().trim_end_matches('/').to_owned())
    }
}

#[cfg(test)]
mod tests {
    use crate::config::{Config, ConfigError, Loaded, Sources};

    fn read(env: &[(&str, &str)]) -> Result<Config, ConfigError> {
        let env = env.iter().map(|(k, v)| (format!("CONCLAVE__API__{k}"), (*v).to_owned())).collect();
        Ok(Loaded::read(&Sources { file: None, env, flags: Vec::new() })?.config)
    }

    #[test]
    fn https_has_a_certificate_and_perhaps_an_address_of_its_own() {
        let config = read(&[("TLS_SELF_SIGNED", "true"), ("PUBLIC_URL", "https://conf.example.org:8443/")]).unwrap();
        let tls = config.api.tls.as_ref().unwrap();
        assert_eq!(tls.self_signed.as_deref(), Some(&["conf.example.org".to_owned()][..]));
        assert!(tls.certificate.starts_with(&config.data_dir) && config.api.listens_with_tls());
        assert_eq!(config.api.public_url, "https://conf.example.org:8443");
        let config = read(&[("TLS_SELF_SIGNED", "true"), ("TLS_LISTEN", "0.0.0.0:8443")]).unwrap();
        assert!(!config.api.listens_with_tls() && config.api.tls_listen.is_some());
    }

    #[test]
    fn what_does_not_go_together_is_refused_by_its_name() {
        for (env, key) in [
            (&[("TLS_LISTEN", "0.0.0.0:8443")][..], "api.tls_listen"),
            (&[("TLS_SELF_SIGNED", "true"), ("TLS_CERTIFICATE", "a"), ("TLS_KEY", "b")], "api.tls_self_signed"),
            (&[("PUBLIC_URL", "conf.example.org")], "api.public_url"),
            (&[("PUBLIC_URL", "https://conf.example.org/x")], "api.public_url"),
            (&[("PUBLIC_URL", "https://conf.example.org?x")], "api.public_url"),
            (&[("PUBLIC_URL", "ftp://conf.example.org")], "api.public_url"),
        ] {
            let refused = read(env).unwrap_err().to_string();
            assert!(refused.starts_with(key), "{env:?}: {refused}");
        }
    }
}
