//! Resolves the kind of a check with its options.

use evenkeel_model::check::{
    ClientCertificate, DnsOptions, ExecOptions, FileOptions, GrpcOptions, Header, HttpOptions,
    HttpVersion, Kind, RecordType, StatusRange, TcpOptions, TlsCheckOptions, TlsOptions,
    UdpOptions,
};

use crate::path::At;
use crate::recovering_de::{Field, List};
use crate::resolve::Diagnostics;
use crate::spec::{
    BodyText, CheckKeys, DnsKeys, Entries, ExecKeys, FileKeys, FileText, Flag, GrpcKeys,
    HeaderValue, HostText, HttpKeys, HttpPath, HttpsKeys, MethodText, ServerName, StatusText,
    TcpKeys, TlsCheckKeys, TlsKeys, UdpKeys, is_token, name_before_port,
};
use crate::suggest::quote;

/// What was written in a field; `None` if it could not be read.
pub(super) fn read<T>(field: &Field<T>) -> Option<Option<&T>> {
    match field {
        Field::Absent => Some(None),
        Field::Bad => None,
        Field::Value(value) => Some(Some(value)),
    }
}

/// Resolves the one kind of a check; `None` if it has none or several, or could not be read.
pub(super) fn kind(keys: &CheckKeys, at: &At<'_>, diagnostics: &mut Diagnostics) -> Option<Kind> {
    let written = keys.written().into_iter().filter(|key| CheckKeys::KINDS.contains(key));
    let kinds: Vec<&'static str> = written.collect();
    let [name] = *kinds else {
        match *kinds {
            [first, second, ..] => {
                diagnostics
                    .error(&at.key(second), format!("a check has both `{first}` and `{second}`"))
                    .at_key()
                    .remedy("write a list of two checks: both must pass")
                    .related(at.key(first).path(), "the other one");
            }
            _ => {
                diagnostics.error(at, "the check has no kind").remedy(format!(
                    "write one of {}, such as `tcp: {{}}`",
                    CheckKeys::KINDS.join(", ")
                ));
            }
        }
        return None;
    };
    let at = &at.key(name);
    Some(match name {
        "tcp" => Kind::Tcp(tcp(keys.tcp.value()?, at, diagnostics)?),
        "udp" => Kind::Udp(udp(keys.udp.value()?)?),
        "http" => Kind::Http(http(keys.http.value()?, at, diagnostics)?),
        "https" => Kind::Http(https(keys.https.value()?, at, diagnostics)?),
        "tls" => Kind::Tls(tls_check(keys.tls.value()?, at, diagnostics)?),
        "dns" => Kind::Dns(dns(keys.dns.value()?, at, diagnostics)?),
        "grpc" => Kind::Grpc(grpc(keys.grpc.value()?, at, diagnostics)?),
        "exec" => Kind::Exec(exec(keys.exec.value()?, at, diagnostics)?),
        "file" => Kind::File(file(keys.file.value()?, at, diagnostics)?),
        _ => {
            keys.icmp.value()?;
            Kind::Icmp
        }
    })
}

fn tcp(keys: &TcpKeys, at: &At<'_>, diagnostics: &mut Diagnostics) -> Option<TcpOptions> {
    let (send, expect) = (read(&keys.send), read(&keys.expect)?);
    if expect.is_some_and(|it| it.0.is_empty()) {
        diagnostics
            .error(&at.key("expect"), "every reply contains an empty text")
            .remedy("write what the reply must contain, or remove it: the connection is enough");
        return None;
    }
    Some(TcpOptions {
        send: send?.map(|it| it.0.clone()).unwrap_or_default(),
        expect: expect.map(|it| it.0.clone()),
    })
}

fn udp(keys: &UdpKeys) -> Option<UdpOptions> {
    let (send, expect) = (read(&keys.send)?, read(&keys.expect)?);
    Some(UdpOptions {
        send: send.map(|it| it.0.clone()).unwrap_or_default(),
        expect: expect.map(|it| it.0.clone()),
    })
}

/// What `http` and `https` have in common.
struct Request<'a> {
    method: &'a Field<MethodText>,
    path: &'a Field<HttpPath>,
    host: &'a Field<HostText>,
    body: &'a Field<BodyText>,
    headers: &'a Field<Entries<HeaderValue>>,
    status: &'a Field<List<StatusText>>,
}

impl Request<'_> {
    /// The options without TLS, in HTTP/1.1.
    fn options(&self, at: &At<'_>, diagnostics: &mut Diagnostics) -> Option<HttpOptions> {
        let headers = self.headers(at, diagnostics);
        let status = self.status(at, diagnostics);
        let usual = HttpOptions::default();
        Some(HttpOptions {
            method: read(self.method)?.map_or(usual.method, |it| it.0.clone()),
            path: read(self.path)?.map_or(usual.path, |it| it.0.clone()),
            host: read(self.host)?.map(|it| it.0.clone()),
            headers: headers?,
            status: status?,
            body: read(self.body)?.map(|it| it.0.clone()),
            ..HttpOptions::default()
        })
    }

    fn headers(&self, at: &At<'_>, diagnostics: &mut Diagnostics) -> Option<Vec<Header>> {
        let Some(entries) = read(self.headers)? else { return Some(Vec::new()) };
        let at = at.key("headers");
        let mut headers = Some(Vec::new());
        for (name, value) in &entries.0 {
            if let Some(remedy) = refused_header(name) {
                let message = format!("{} cannot be a header field of a check", quote(name));
                diagnostics.error(&at.named(name), message).at_key().remedy(remedy);
                headers = None;
            }
            match (value.value(), &mut headers) {
                (Some(value), Some(list)) => {
                    list.push(Header { name: name.to_string(), value: value.0.clone() });
                }
                (None, _) => headers = None,
                (Some(_), None) => {}
            }
        }
        headers
    }

    fn status(&self, at: &At<'_>, diagnostics: &mut Diagnostics) -> Option<Vec<StatusRange>> {
        let Some(list) = read(self.status)? else { return Some(HttpOptions::default().status) };
        if list.0.is_empty() {
            diagnostics
                .error(&at.key("status"), "the list of statuses is empty, so that none passes")
                .remedy("write at least one, or remove it: 200-299 pass then");
        }
        let ranges: Vec<StatusRange> = list.values().map(|(_, it)| it.0).collect();
        (!list.has_bad() && !ranges.is_empty()).then_some(ranges)
    }
}

/// How to correct a header field that a check cannot have; `None` if it can.
fn refused_header(name: &str) -> Option<&'static str> {
    let made = ["connection", "content-length", "transfer-encoding", "upgrade", "te", "trailer"];
    let hop = ["keep-alive", "proxy-connection", "http2-settings", "expect"];
    let lower = name.to_ascii_lowercase();
    if !is_token(name) || name.len() > 64 {
        Some("a name has 1 to 64 letters, digits or `-`, such as X-Probe")
    } else if lower == "host" {
        Some("write it as `host`, beside `path`")
    } else if made.contains(&&*lower) || hop.contains(&&*lower) {
        Some("remove it: it belongs to the connection, which evenkeel makes")
    } else {
        None
    }
}

fn http(keys: &HttpKeys, at: &At<'_>, diagnostics: &mut Diagnostics) -> Option<HttpOptions> {
    let HttpKeys { method, path, host, headers, status, body, http2 } = keys;
    let request = Request { method, path, host, body, headers, status };
    let options = request.options(at, diagnostics)?;
    let version = match read(http2)? {
        Some(Flag(true)) => HttpVersion::Http2,
        Some(Flag(false)) | None => HttpVersion::Http1,
    };
    Some(HttpOptions { version, ..options })
}

fn https(keys: &HttpsKeys, at: &At<'_>, diagnostics: &mut Diagnostics) -> Option<HttpOptions> {
    let HttpsKeys { method, path, host, headers, status, body, http2, .. } = keys;
    let HttpsKeys { sni, verify, ca, cert, key, .. } = keys;
    let request = Request { method, path, host, body, headers, status };
    let options = request.options(at, diagnostics);
    let tls = Session { sni, verify, ca, cert, key }.options(at, diagnostics);
    let version = match read(http2)? {
        Some(Flag(true)) => HttpVersion::Http2,
        Some(Flag(false)) => HttpVersion::Http1,
        None => HttpVersion::Negotiated,
    };
    Some(HttpOptions { tls: Some(tls?.named_by(host)), version, ..options? })
}

/// Names a session after the host of its request.
trait NamedBy {
    /// A host with a port is no name of TLS, so that its name is written as that in SNI. One without is
    /// taken where the session is opened.
    fn named_by(self, host: &Field<HostText>) -> Self;
}

impl NamedBy for TlsOptions {
    fn named_by(mut self, host: &Field<HostText>) -> Self {
        if self.sni.is_none() {
            self.sni = host.value().and_then(|host| name_before_port(&host.0));
        }
        self
    }
}

/// How a TLS session is opened.
struct Session<'a> {
    sni: &'a Field<ServerName>,
    verify: &'a Field<Flag>,
    ca: &'a Field<FileText>,
    cert: &'a Field<FileText>,
    key: &'a Field<FileText>,
}

impl Session<'_> {
    fn options(&self, at: &At<'_>, diagnostics: &mut Diagnostics) -> Option<TlsOptions> {
        let Self { sni, verify, ca, cert, key } = self;
        let is_verified = verify.value().is_none_or(|flag| flag.0);
        let mut is_good = true;
        if !is_verified && !ca.is_absent() {
            diagnostics
                .error(&at.key("ca"), "`ca` has no effect beside `verify: false`")
                .at_key()
                .remedy("remove one of the two");
            is_good = false;
        }
        for (present, absent, other) in [("cert", key, "key"), ("key", cert, "cert")] {
            let is_written = !if present == "cert" { cert } else { key }.is_absent();
            if is_written && absent.is_absent() {
                diagnostics
                    .error(&at.key(present), format!("`{present}` needs a `{other}`"))
                    .at_key()
                    .remedy("name the files of both, or remove it: no certificate is shown then");
                is_good = false;
            }
        }
        let text = |field: &Field<FileText>| Some(read(field)?.map(|it| it.0.clone()));
        let client = text(cert)?.zip(text(key)?);
        let options = TlsOptions {
            sni: read(sni)?.map(|it| it.0.clone()),
            verify: read(verify)?.is_none_or(|flag| flag.0),
            ca: text(ca)?,
            client: client.map(|(certificate, key)| ClientCertificate { certificate, key }),
        };
        is_good.then_some(options)
    }
}

fn tls_check(
    keys: &TlsCheckKeys,
    at: &At<'_>,
    diagnostics: &mut Diagnostics,
) -> Option<TlsCheckOptions> {
    let TlsCheckKeys { sni, verify, ca, cert, key, min_days } = keys;
    let tls = Session { sni, verify, ca, cert, key }.options(at, diagnostics);
    let min_days = read(min_days)?.map(|it| it.0);
    Some(TlsCheckOptions { tls: tls?, min_days })
}

fn dns(keys: &DnsKeys, at: &At<'_>, diagnostics: &mut Diagnostics) -> Option<DnsOptions> {
    let DnsKeys { name, record, answer } = keys;
    if name.is_absent() {
        diagnostics
            .error(at, "the query has no `name`")
            .remedy("write the name that is asked for, such as `name: www.example.org`");
    }
    Some(DnsOptions {
        name: name.value()?.0.clone(),
        record: read(record)?.map_or(RecordType::A, |it| it.0),
        answer: read(answer)?.map(|it| it.0.clone()),
    })
}

fn grpc(keys: &GrpcKeys, at: &At<'_>, diagnostics: &mut Diagnostics) -> Option<GrpcOptions> {
    let GrpcKeys { service, tls, authority } = keys;
    let tls = read(tls)?.map(|keys| {
        let TlsKeys { sni, verify, ca, cert, key } = &**keys;
        Session { sni, verify, ca, cert, key }.options(&at.key("tls"), diagnostics)
    });
    Some(GrpcOptions {
        service: read(service)?.map(|it| it.0.clone()).unwrap_or_default(),
        tls: match tls {
            None => None,
            Some(tls) => Some(tls?.named_by(authority)),
        },
        authority: read(authority)?.map(|it| it.0.clone()),
    })
}

fn exec(keys: &ExecKeys, at: &At<'_>, diagnostics: &mut Diagnostics) -> Option<ExecOptions> {
    let ExecKeys { argv, user } = keys;
    if argv.is_absent() {
        diagnostics
            .error(at, "the check has no `argv`")
            .remedy("write the program and its arguments, such as `argv: [check-db]`");
    }
    let list = argv.value()?;
    let at = at.key("argv");
    if list.0.is_empty() {
        diagnostics.error(&at, "`argv` is empty").remedy("it begins with the name of a program");
        return None;
    }
    let arguments: Vec<String> = list.values().map(|(_, it)| it.0.clone()).collect();
    if list.has_bad() {
        return None;
    }
    let name = arguments.first()?;
    if name.contains('/')
        || name.chars().any(char::is_control)
        || ["", ".", ".."].contains(&&**name)
    {
        diagnostics
            .error(&at.item(0), format!("{} is not the name of a program", quote(name)))
            .remedy("write its name in the host's directory of check programs, without `/`");
        return None;
    }
    Some(ExecOptions { argv: arguments, user: read(user)?.map(|it| it.0.clone()) })
}

fn file(keys: &FileKeys, at: &At<'_>, diagnostics: &mut Diagnostics) -> Option<FileOptions> {
    let FileKeys { path, max_age } = keys;
    if path.is_absent() {
        diagnostics
            .error(at, "the check has no `path`")
            .remedy("write the name of the file, such as `path: bfd-10.0.0.5`");
    }
    let (path, max_age) = (path.value()?, read(max_age)?.map(|it| it.0));
    if max_age.is_some_and(|it| it.is_zero()) {
        diagnostics
            .error(&at.key("max_age"), "with a `max_age` of 0, no file is new enough")
            .remedy("write a longer time, or remove it");
        return None;
    }
    Some(FileOptions { path: path.0.clone().into(), max_age })
}
