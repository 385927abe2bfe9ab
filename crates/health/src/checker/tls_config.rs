//! TLS configurations: made once for each set of options, and again when one of their files changes.

mod unverified;

use std::collections::HashMap;
use std::fs;
use std::net::IpAddr;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use rustls::client::Resumption;
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::environment::{Environment, inside};
use crate::outcome::Fault;
use evenkeel_model::check::TlsOptions;

use super::problem::Problem;
use unverified::Unverified;

/// How many configurations are kept.
const KEPT: usize = 256;

/// Which protocols are offered in the handshake (ALPN).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Alpn {
    None,
    Http1,
    Http2,
    Both,
}

#[derive(Debug)]
pub(crate) struct TlsConfigs {
    directory: PathBuf,
    bundle: PathBuf,
    provider: Arc<CryptoProvider>,
    made: Mutex<HashMap<(TlsOptions, Alpn), Made>>,
}

#[derive(Debug)]
struct Made {
    config: Arc<ClientConfig>,
    files: Vec<Stamp>,
}

/// A file as it was when it was read.
#[derive(Debug, PartialEq, Eq)]
struct Stamp {
    path: PathBuf,
    inode: u64,
    size: u64,
    changed: (i64, i64),
}

impl TlsConfigs {
    pub(crate) fn new(environment: &Environment) -> Self {
        Self {
            directory: environment.tls_directory.clone(),
            bundle: environment.ca_bundle.clone(),
            provider: Arc::new(ring::default_provider()),
            made: Mutex::default(),
        }
    }

    /// Opens a TLS session over a connection.
    pub(crate) async fn open(
        &self,
        options: &TlsOptions,
        alpn: Alpn,
        name: ServerName<'static>,
        stream: TcpStream,
    ) -> Result<TlsStream<TcpStream>, Problem> {
        let config = self.config(options, alpn)?;
        TlsConnector::from(config)
            .connect(name, stream)
            .await
            .map_err(|error| Problem::of_exchange(&error))
    }

    fn config(&self, options: &TlsOptions, alpn: Alpn) -> Result<Arc<ClientConfig>, Fault> {
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (options.clone(), alpn);
        if let Some(made) = made.get(&key)
            && made.files.iter().all(Stamp::holds)
        {
            return Ok(made.config.clone());
        }
        let new = self.make(options, alpn)?;
        let config = new.config.clone();
        if made.len() >= KEPT {
            made.clear();
        }
        made.insert(key, new);
        Ok(config)
    }

    fn make(&self, options: &TlsOptions, alpn: Alpn) -> Result<Made, Fault> {
        // Before they are read: what changes meanwhile is read again.
        let mut files = Vec::new();
        let builder = ClientConfig::builder_with_provider(self.provider.clone())
            .with_safe_default_protocol_versions()
            .map_err(|error| Fault::Setup { error: format!("tls: {error}") })?;
        let builder = if options.verify {
            let path = match &options.ca {
                Some(name) => inside(&self.directory, Path::new(name))?,
                None => self.bundle.clone(),
            };
            files.push(Stamp::of(&path)?);
            builder.with_root_certificates(authorities(&path)?)
        } else {
            let verifier = Arc::new(Unverified::new(self.provider.clone()));
            builder.dangerous().with_custom_certificate_verifier(verifier)
        };
        let mut config = match &options.client {
            None => builder.with_no_client_auth(),
            Some(client) => {
                let certificate = inside(&self.directory, Path::new(&client.certificate))?;
                let key = inside(&self.directory, Path::new(&client.key))?;
                files.push(Stamp::of(&certificate)?);
                files.push(Stamp::of(&key)?);
                let chain = certificates(&certificate)?;
                let secret = PrivateKeyDer::from_pem_file(&key)
                    .map_err(|error| unusable(&key, &format!("no private key: {error}")))?;
                builder.with_client_auth_cert(chain, secret).map_err(|error| {
                    unusable(&key, &format!("not usable with {}: {error}", certificate.display()))
                })?
            }
        };
        config.alpn_protocols = match alpn {
            Alpn::None => vec![],
            Alpn::Http1 => vec![b"http/1.1".to_vec()],
            Alpn::Http2 => vec![b"h2".to_vec()],
            Alpn::Both => vec![b"h2".to_vec(), b"http/1.1".to_vec()],
        };
        // A resumed session would show the certificate of the first one, however old.
        config.resumption = Resumption::disabled();
        Ok(Made { config: Arc::new(config), files })
    }
}

/// The name for a session: that in SNI, else the given one if it is a name, else the address.
pub(crate) fn server_name(
    options: &TlsOptions,
    host: Option<&str>,
    address: IpAddr,
) -> Result<ServerName<'static>, Fault> {
    if let Some(sni) = &options.sni {
        return ServerName::try_from(sni.clone())
            .map_err(|_| Fault::Setup { error: format!("sni `{sni}` is no name of a host") });
    }
    Ok(host
        .and_then(|it| ServerName::try_from(it.to_owned()).ok())
        .unwrap_or_else(|| ServerName::from(address)))
}

fn authorities(path: &Path) -> Result<RootCertStore, Fault> {
    let mut store = RootCertStore::empty();
    // The host's bundle may hold some that cannot be used: they are no reason to trust none.
    let (added, _) = store.add_parsable_certificates(certificates(path)?);
    if added == 0 {
        return Err(unusable(path, "no authority in it can be used"));
    }
    Ok(store)
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, Fault> {
    let text = fs::read(path).map_err(|error| unusable(path, &error.to_string()))?;
    let all: Vec<_> = CertificateDer::pem_slice_iter(&text)
        .collect::<Result<_, _>>()
        .map_err(|error| unusable(path, &error.to_string()))?;
    if all.is_empty() {
        return Err(unusable(path, "no certificate in it (PEM)"));
    }
    Ok(all)
}

fn unusable(path: &Path, error: &str) -> Fault {
    Fault::Setup { error: format!("{}: {error}", path.display()) }
}

impl Stamp {
    fn of(path: &Path) -> Result<Self, Fault> {
        let metadata = fs::metadata(path).map_err(|error| unusable(path, &error.to_string()))?;
        if !metadata.is_file() {
            return Err(unusable(path, "not a regular file"));
        }
        Ok(Self {
            path: path.to_owned(),
            inode: metadata.ino(),
            size: metadata.size(),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        })
    }

    fn holds(&self) -> bool {
        Self::of(&self.path).is_ok_and(|it| it == *self)
    }
}
