//! Texts of health checks.

use std::net::Ipv6Addr;

use serde::de::{Deserialize, Deserializer};

use super::entries::Entry;
use super::parse_str::{InvalidText, schema, text};
use crate::suggest::quote;

/// The longest text of a check, in bytes.
const LONGEST: usize = 4096;

/// Declares a text with a parser of its own.
macro_rules! texts {
    ($($(#[$meta:meta])* $name:ident($value:ty), $expected:literal, $parse:path, $schema:tt)*) => {
        $(
            $(#[$meta])*
            #[derive(Debug, Clone, PartialEq, Eq)]
            pub(crate) struct $name(pub(crate) $value);

            impl<'de> Deserialize<'de> for $name {
                fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                    text(deserializer, $expected, |written| $parse(written).map(Self))
                }
            }

            schema!($name, $schema);
        )*
    };
}

texts! {
    /// What is sent, or what a reply contains, with escapes.
    Payload(Vec<u8>), "a text, one such as PING\\r\\n", payload,
    { "anyOf": [
        {
            "type": "string",
            "pattern": "^([^\\\\]|\\\\([rnt\\\\]|x[0-9A-Fa-f]{2}))*$",
            "maxLength": 16384,
        },
        { "type": "number" }, { "type": "boolean" },
    ] }

    /// A text that a body must contain.
    BodyText(String), "a text, one such as ok", body,
    { "anyOf": [
        { "type": "string", "minLength": 1, "maxLength": LONGEST },
        { "type": "number" }, { "type": "boolean" },
    ] }

    /// The method of a request.
    MethodText(String), "a method, one such as GET", method,
    { "type": "string", "pattern": "^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,32}$" }

    /// The path of a request, with its query.
    HttpPath(String), "a path, one such as /healthz", http_path,
    { "type": "string", "pattern": "^/[!$-;=?-_a-z|~{}]*$" }

    /// The host of a request, with a port if it is not the scheme's.
    HostText(String), "the host of a request, one such as www.example.org", host,
    { "type": "string", "pattern": "^(\\[[0-9A-Fa-f:.]+\\]|[A-Za-z0-9._~-]+)(:[0-9]{1,5})?$" }

    /// The value of a header field.
    HeaderValue(String), "the value of a header field, one such as yes", header_value,
    { "anyOf": [
        { "type": "string", "pattern": "^[\\t -~]*$", "maxLength": LONGEST },
        { "type": "number" }, { "type": "boolean" },
    ] }

    /// The name of a host in TLS.
    ServerName(String), "the name of a host, one such as www.example.org", server_name,
    { "type": "string", "pattern": "^[A-Za-z0-9_.-]+$", "maxLength": 253 }

    /// A file, by its name inside of a directory of the host.
    FileText(String), "the name of a file, one such as ca.pem", file,
    { "type": "string", "pattern": "^[^/]", "maxLength": 255 }

    /// A program or an argument of it.
    Argument(String), "a program or an argument, one such as check-db", argument,
    { "anyOf": [
        { "type": "string", "maxLength": LONGEST },
        { "type": "number" }, { "type": "boolean" },
    ] }

    /// A user of the host.
    UserText(String), "a user, one such as nobody", user,
    { "anyOf": [
        { "type": "string", "pattern": "^[A-Za-z0-9_][A-Za-z0-9_.-]{0,31}$" },
        { "type": "number" }, { "type": "boolean" },
    ] }

    /// A name in DNS.
    DnsName(String), "a name in DNS, one such as www.example.org", dns_name,
    { "type": "string", "minLength": 1, "maxLength": 254 }

    /// The data of a record.
    AnswerText(String), "the data of a record, one such as 192.0.2.1", answer,
    { "anyOf": [
        { "type": "string", "minLength": 1, "maxLength": LONGEST },
        { "type": "number" }, { "type": "boolean" },
    ] }

    /// A service of gRPC; empty for the server as a whole.
    GrpcService(String), "a service of gRPC, one such as shop.Cart", grpc_service,
    { "type": "string", "maxLength": LONGEST }
}

impl Entry for HeaderValue {
    const EXPECTED: &'static str = "header fields, a map such as `{ X-Probe: yes }`";
    const KEY: &'static str = "a header field";
    const KEYS: &'static str = "^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,64}$";
}

fn too_long(written: &str, what: &str) -> Result<(), InvalidText> {
    if written.len() <= LONGEST {
        return Ok(());
    }
    let message = format!("{} is too long for {what}", quote(written));
    Err(InvalidText::new(message, format!("write at most {LONGEST} bytes")))
}

/// Whether a text is a token of HTTP.
pub(crate) fn is_token(written: &str) -> bool {
    let is_mark = |byte: u8| b"!#$%&'*+-.^_`|~".contains(&byte);
    !written.is_empty() && written.bytes().all(|it| it.is_ascii_alphanumeric() || is_mark(it))
}

fn payload(written: &str) -> Result<Vec<u8>, InvalidText> {
    let invalid = |what: &str| {
        InvalidText::new(
            format!("{} has {what}", quote(written)),
            "the escapes are \\r, \\n, \\t, \\\\ and \\xNN with two hexadecimal digits",
        )
    };
    let mut bytes = Vec::with_capacity(written.len());
    let mut rest = written;
    while let Some(at) = rest.find('\\') {
        let (before, behind) = rest.split_at(at);
        bytes.extend_from_slice(before.as_bytes());
        let mut behind = behind[1..].chars();
        match behind.next() {
            Some('r') => bytes.push(b'\r'),
            Some('n') => bytes.push(b'\n'),
            Some('t') => bytes.push(b'\t'),
            Some('\\') => bytes.push(b'\\'),
            Some('x') => {
                let mut digit = || behind.next().and_then(|it| it.to_digit(16));
                let number = digit().zip(digit()).map(|(high, low)| high * 16 + low);
                let number = number.and_then(|it| u8::try_from(it).ok());
                bytes.push(number.ok_or_else(|| invalid("an \\x without two digits"))?);
            }
            Some(other) => {
                return Err(invalid(&format!("the unknown escape \\{}", other.escape_default())));
            }
            None => return Err(invalid("a \\ at its end")),
        }
        rest = behind.as_str();
    }
    bytes.extend_from_slice(rest.as_bytes());
    if bytes.len() > LONGEST {
        let message = format!("{} is too long for a packet of a check", quote(written));
        return Err(InvalidText::new(message, format!("write at most {LONGEST} bytes")));
    }
    Ok(bytes)
}

fn body(written: &str) -> Result<String, InvalidText> {
    too_long(written, "a text of a body")?;
    if written.is_empty() {
        let message = "every body contains an empty text";
        return Err(InvalidText::new(message, "write a text, or remove `body`"));
    }
    Ok(written.to_owned())
}

fn method(written: &str) -> Result<String, InvalidText> {
    const USUAL: [&str; 7] = ["GET", "HEAD", "OPTIONS", "POST", "PUT", "DELETE", "PATCH"];
    let upper = written.to_ascii_uppercase();
    let invalid = |remedy: String| {
        InvalidText::new(format!("{} is not a method of HTTP", quote(written)), remedy)
    };
    if USUAL.contains(&&*upper) && upper != written {
        return Err(invalid(format!("did you mean `{upper}`?")));
    }
    if upper == "CONNECT" || !is_token(written) || written.len() > 32 {
        return Err(invalid("write one such as GET or HEAD".to_owned()));
    }
    Ok(written.to_owned())
}

/// A path that a request can carry: what HTTP allows beside it would end it.
fn http_path(written: &str) -> Result<String, InvalidText> {
    too_long(written, "a path")?;
    let invalid = |remedy: &str| {
        Err(InvalidText::new(format!("{} is not the path of a request", quote(written)), remedy))
    };
    let is_refused = |byte: u8| !byte.is_ascii_graphic() || b"\"#<>`".contains(&byte);
    if !written.starts_with('/') {
        return invalid("a path begins with `/`; the name of the host is written as `host`");
    }
    if written.bytes().any(is_refused) {
        return invalid(
            "encode spaces, control characters, quotes, `#`, `<`, `>` and all beyond ASCII as `%20`",
        );
    }
    Ok(written.to_owned())
}

fn host(written: &str) -> Result<String, InvalidText> {
    let is_port = |port: &str| {
        port.bytes().all(|it| it.is_ascii_digit()) && port.parse::<u16>().is_ok_and(|it| it > 0)
    };
    let is_name = |name: &str| {
        let all = |it: u8| it.is_ascii_alphanumeric() || b"._~-".contains(&it);
        (1..=253).contains(&name.len()) && name.bytes().all(all)
    };
    let is_valid = match written.strip_prefix('[') {
        Some(rest) => rest.split_once(']').is_some_and(|(address, behind)| {
            let port = behind.strip_prefix(':');
            address.parse::<Ipv6Addr>().is_ok() && (behind.is_empty() || port.is_some_and(is_port))
        }),
        None => match written.split_once(':') {
            Some((name, port)) => is_name(name) && is_port(port),
            None => is_name(written),
        },
    };
    if is_valid {
        return Ok(written.to_owned());
    }
    Err(InvalidText::new(
        format!("{} cannot be the host of a request", quote(written)),
        "write one such as www.example.org, www.example.org:8080 or [2001:db8::1]",
    ))
}

fn header_value(written: &str) -> Result<String, InvalidText> {
    too_long(written, "the value of a header field")?;
    if written.bytes().all(|it| matches!(it, b' '..=b'~' | b'\t')) {
        return Ok(written.to_owned());
    }
    Err(InvalidText::new(
        format!("{} cannot be the value of a header field", quote(written)),
        "it is one line of ASCII without control characters",
    ))
}

/// The name of a host that is written with a port; `None` if it has none, or is an address.
pub(crate) fn name_before_port(host: &str) -> Option<String> {
    let (name, _) = host.rsplit_once(':')?;
    server_name(name).ok()
}

fn server_name(written: &str) -> Result<String, InvalidText> {
    let invalid = |remedy: &str| {
        Err(InvalidText::new(format!("{} is not the name of a host", quote(written)), remedy))
    };
    if written.parse::<std::net::IpAddr>().is_ok() {
        return invalid("SNI has no addresses: without it, the certificate must be of the address");
    }
    let is_label = |label: &str| {
        let all = |it: u8| it.is_ascii_alphanumeric() || matches!(it, b'-' | b'_');
        let is_long = !(1..=63).contains(&label.len());
        !is_long && label.bytes().all(all) && !label.starts_with('-') && !label.ends_with('-')
    };
    let last = written.rsplit('.').next().unwrap_or_default();
    let is_number = last.bytes().all(|it| it.is_ascii_digit());
    if written.len() > 253 || !written.split('.').all(is_label) || is_number {
        return invalid("write one such as www.example.org");
    }
    Ok(written.to_owned())
}

fn file(written: &str) -> Result<String, InvalidText> {
    let is_name = |part: &str| !matches!(part, "" | "." | "..");
    let is_shown = |character: char| !character.is_control();
    if written.split('/').all(is_name) && written.chars().all(is_shown) && written.len() <= 255 {
        return Ok(written.to_owned());
    }
    Err(InvalidText::new(
        format!("{} is not the name of a file in the host's directory for it", quote(written)),
        "write its name there, such as ca.pem, without `/` at the start and without `..`",
    ))
}

fn argument(written: &str) -> Result<String, InvalidText> {
    too_long(written, "an argument")?;
    if written.contains('\0') {
        let message = format!("{} has a NUL byte, which ends an argument", quote(written));
        return Err(InvalidText::new(message, "remove it"));
    }
    Ok(written.to_owned())
}

fn user(written: &str) -> Result<String, InvalidText> {
    let is_root = written == "root" || written.bytes().all(|it| it == b'0');
    if is_root && !written.is_empty() {
        let message = "a check never runs as root";
        return Err(InvalidText::new(message, "name another user, or remove `user`"));
    }
    let all = |it: u8| it.is_ascii_alphanumeric() || matches!(it, b'_' | b'.' | b'-');
    if (1..=32).contains(&written.len())
        && written.bytes().all(all)
        && !written.starts_with(['-', '.'])
    {
        return Ok(written.to_owned());
    }
    Err(InvalidText::new(
        format!("{} cannot be a user", quote(written)),
        "write the name of one of the host, such as nobody",
    ))
}

fn dns_name(written: &str) -> Result<String, InvalidText> {
    let labels = written.strip_suffix('.').unwrap_or(written);
    let are_valid = labels.split('.').all(|label| (1..=63).contains(&label.len()));
    let is_shown = written.bytes().all(|it| it.is_ascii_graphic());
    if written == "." || (are_valid && labels.len() <= 253 && is_shown) {
        return Ok(written.to_owned());
    }
    Err(InvalidText::new(
        format!("{} is not a name in DNS", quote(written)),
        "a name has labels of 1 to 63 bytes and at most 253 in all; `.` is the root",
    ))
}

fn answer(written: &str) -> Result<String, InvalidText> {
    too_long(written, "the data of a record")?;
    if written.is_empty() || written.chars().any(char::is_control) {
        let message = format!("{} is not the data of a record", quote(written));
        let remedy = "write it as in a zone file, such as 192.0.2.1 or `10 mail.example.org.`";
        return Err(InvalidText::new(message, remedy));
    }
    Ok(written.to_owned())
}

fn grpc_service(written: &str) -> Result<String, InvalidText> {
    too_long(written, "a service of gRPC")?;
    if written.chars().any(char::is_control) {
        let message = format!("{} is not a service of gRPC", quote(written));
        return Err(InvalidText::new(message, "write one such as shop.Cart"));
    }
    Ok(written.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_payload_has_its_escapes_replaced() {
        let read = |written: &str| payload(written).ok();
        for (written, bytes) in [
            ("", &b""[..]),
            ("PING\\r\\n", b"PING\r\n"),
            ("\\t\\\\x\\x00\\xfFé", b"\t\\x\x00\xff\xc3\xa9"),
            ("a\\\\", b"a\\"),
            // Quoted YAML replaces escapes by itself.
            ("\r\n", b"\r\n"),
        ] {
            assert_eq!(read(written).as_deref(), Some(bytes), "{written}");
        }
        for written in ["\\", "a\\q", "\\x", "\\x1", "\\x1g", "\\xé", "\\é"] {
            assert_eq!(read(written), None, "{written}");
        }
        assert!(read(&"\\x41".repeat(LONGEST)).is_some());
        assert!(read(&"x".repeat(LONGEST + 1)).is_none());
    }

    #[test]
    fn requests_carry_paths_hosts_and_methods() {
        for good in ["/", "/healthz?a=b&c=%20", "/a|b", "/{x}"] {
            assert!(http_path(good).is_ok(), "{good}");
        }
        for bad in ["", "healthz", "*", "/a b", "/a\n", "/é", "/a#b", "/<", "http://a/"] {
            assert!(http_path(bad).is_err(), "{bad}");
        }
        for good in ["a.example", "a.example:8080", "192.0.2.1", "[2001:db8::1]", "[::1]:80"] {
            assert!(host(good).is_ok(), "{good}");
        }
        for bad in
            ["", "a b", "a:", "a:0", "a:65536", "a:+1", "u@a", "a/b", "::1", "[::1", "[::1]x", "é"]
        {
            assert!(host(bad).is_err(), "{bad}");
        }
        assert_eq!(name_before_port("a.example:8080").as_deref(), Some("a.example"));
        for without in ["a.example", "192.0.2.1:80", "[2001:db8::1]:80", "[2001:db8::1]"] {
            assert_eq!(name_before_port(without), None, "{without}");
        }
        for good in ["GET", "PURGE", "M-SEARCH"] {
            assert!(method(good).is_ok(), "{good}");
        }
        for bad in ["", "get", "G ET", "CONNECT", "GET\r\nX: y"] {
            assert!(method(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn names_and_files_stay_within_their_bounds() {
        let label = "a".repeat(63);
        let longest = [&*label, &*label, &*label, &"b".repeat(61)].join(".");
        assert_eq!(longest.len(), 253);
        for good in [".", "a", "_dmarc.a.example.", &longest, &format!("{longest}.")] {
            assert!(dns_name(good).is_ok(), "{good}");
        }
        for bad in
            ["", "..", ".a", "a..b", "a b", &format!("{label}a"), &format!("{longest}b"), "é"]
        {
            assert!(dns_name(bad).is_err(), "{bad}");
        }
        for good in ["a", "www.example.org", "1.example", &longest] {
            assert!(server_name(good).is_ok(), "{good}");
        }
        for bad in ["", "192.0.2.1", "::1", "1.2.3", "a..b", "-a", "a-", "a.", "a b", "é"] {
            assert!(server_name(bad).is_err(), "{bad}");
        }
        for good in ["ca.pem", "a/ca.pem", "..."] {
            assert!(file(good).is_ok(), "{good}");
        }
        for bad in ["", ".", "..", "/ca.pem", "../ca.pem", "a/../b", "./a", "a//b", "a/", "a\0"] {
            assert!(file(bad).is_err(), "{bad}");
        }
        for bad in ["root", "0", "00", "", "-x", "a b"] {
            assert!(user(bad).is_err(), "{bad}");
        }
        assert!(user("nobody").is_ok() && user("1000").is_ok());
    }
}
