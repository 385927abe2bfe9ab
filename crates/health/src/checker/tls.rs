//! `tls`: a handshake, and until when the certificate is valid.

use std::net::SocketAddr;
use std::time::{Duration, SystemTime};

use rustls::pki_types::CertificateDer;
use tokio::io::AsyncWriteExt;
use x509_cert::Certificate;
use x509_cert::der::Decode;

use crate::outcome::{Failure, Stage};
use evenkeel_model::check::Check;
use evenkeel_model::check::TlsCheckOptions;

use super::problem::Problem;
use super::tls_config::{Alpn, TlsConfigs, server_name};
use super::{Progress, connect};

const DAY: u64 = 24 * 60 * 60;

pub(crate) async fn probe(
    options: &TlsCheckOptions,
    destination: SocketAddr,
    check: &Check,
    configs: &TlsConfigs,
    progress: &Progress,
) -> Result<(), Problem> {
    let name = server_name(&options.tls, None, destination.ip())?;
    let stream = connect::tcp(destination, check).await?;
    progress.reaches(Stage::Handshake);
    let mut stream = configs.open(&options.tls, Alpn::None, name, stream).await?;
    if let Some(min_days) = options.min_days {
        let (_, session) = stream.get_ref();
        let certificate = session.peer_certificates().and_then(<[_]>::first);
        let ends = certificate.and_then(ends).ok_or_else(|| Failure::Malformed {
            what: "the certificate has no readable end".to_owned(),
        })?;
        let days = days(ends, SystemTime::now());
        if days < i64::from(min_days) {
            return Err(Failure::CertificateEnds { days, min_days }.into());
        }
    }
    // The session is complete: servers write errors to their logs where it is not closed. It does not
    // matter whether the message still arrives.
    let _ = stream.shutdown().await;
    Ok(())
}

/// When a certificate ends.
fn ends(certificate: &CertificateDer<'_>) -> Option<SystemTime> {
    let certificate = Certificate::from_der(certificate).ok()?;
    let ends = certificate.tbs_certificate().validity().not_after;
    Some(SystemTime::UNIX_EPOCH + ends.to_unix_duration())
}

/// Whole days until a certificate ends, rounded down: negative once it has.
fn days(ends: SystemTime, now: SystemTime) -> i64 {
    let whole = |time: Duration| i64::try_from(time.as_secs() / DAY).unwrap_or(i64::MAX);
    match ends.duration_since(now) {
        Ok(left) => whole(left),
        Err(error) => -1 - whole(error.duration()),
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;
    use crate::checker::test_servers::{
        Authority, LOOPBACKS, NAME, closed_port, made_in, patient, quick, tcp_server, tls_server,
    };
    use crate::outcome::{Fault, Outcome};
    use evenkeel_model::check::Kind;
    use evenkeel_model::check::{ClientCertificate, TlsOptions};

    fn check(tls: TlsOptions, min_days: Option<u16>) -> Check {
        patient(Kind::Tls(TlsCheckOptions { tls, min_days }))
    }

    fn named() -> TlsOptions {
        let sni = Some(NAME.to_owned());
        TlsOptions { sni, ca: Some("ca.pem".to_owned()), ..TlsOptions::default() }
    }

    fn text(outcome: &Outcome) -> String {
        match outcome {
            Outcome::Failed(Failure::Tls { error }) => error.clone(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn days_are_whole_ones() {
        let at = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        let now = at(100 * DAY);
        assert_eq!(days(at(107 * DAY), now), 7);
        assert_eq!(days(at(107 * DAY - 1), now), 6);
        assert_eq!(days(at(100 * DAY), now), 0);
        assert_eq!(days(at(100 * DAY - 1), now), -1);
    }

    #[test]
    fn a_certificate_of_a_trusted_authority_passes() {
        let authority = Authority::new();
        for loopback in LOOPBACKS {
            let server = tls_server(loopback, authority.server(&[NAME], 30), None);
            let made = |check| made_in(authority.environment(), server, &check);
            assert_eq!(made(check(named(), None)), Outcome::Passed);
            assert_eq!(made(check(named(), Some(29))), Outcome::Passed);
            let ends = Failure::CertificateEnds { days: 29, min_days: 31 };
            assert_eq!(made(check(named(), Some(31))), ends.into());
        }
    }

    #[test]
    fn without_sni_the_certificate_must_be_for_the_address() {
        let authority = Authority::new();
        for loopback in LOOPBACKS {
            let tls = TlsOptions { sni: None, ..named() };
            let of_name = tls_server(loopback, authority.server(&[NAME], 30), None);
            let outcome = made_in(authority.environment(), of_name, &check(tls.clone(), None));
            assert!(text(&outcome).contains("not valid for name"), "{outcome}");
            let address = loopback.to_string();
            let of_address = tls_server(loopback, authority.server(&[&address], 30), None);
            let outcome = made_in(authority.environment(), of_address, &check(tls, None));
            assert_eq!(outcome, Outcome::Passed);
        }
    }

    #[test]
    fn certificates_that_are_not_valid_fail_unless_they_need_not_be() {
        let authority = Authority::new();
        let strange = Authority::new();
        for (what, certificate, error) in [
            ("no name", authority.server(&[], 30), "not valid for any names"),
            ("another name", authority.server(&["b.test"], 30), "not valid for name"),
            ("expired", authority.server(&[NAME], -2), "expired"),
            ("another authority", strange.server(&[NAME], 30), "UnknownIssuer"),
        ] {
            let server = tls_server(LOOPBACKS[0], certificate, None);
            let made = |check| made_in(authority.environment(), server, &check);
            let outcome = made(check(named(), None));
            assert!(text(&outcome).contains(error), "{what}: {outcome}");
            let unverified = TlsOptions { verify: false, ..named() };
            assert_eq!(made(check(unverified.clone(), None)), Outcome::Passed, "{what}");
            // Its end counts even so.
            if what == "expired" {
                let ends = Failure::CertificateEnds { days: -3, min_days: 0 };
                assert_eq!(made(check(unverified, Some(0))), ends.into());
            }
        }
    }

    #[test]
    fn a_server_that_speaks_no_tls_fails() {
        let authority = Authority::new();
        let plain = tcp_server(LOOPBACKS[0], |mut stream| {
            use std::io::Write;
            let _ = stream.write_all(b"220 mail.example.org ESMTP\r\n");
            thread::sleep(Duration::from_millis(300));
        });
        let outcome = made_in(authority.environment(), plain, &check(named(), None));
        assert!(!text(&outcome).is_empty());
        let silent = tcp_server(LOOPBACKS[0], |stream| {
            thread::sleep(Duration::from_millis(400));
            drop(stream);
        });
        let quick = quick(Kind::Tls(TlsCheckOptions { tls: named(), min_days: None }));
        let after = Duration::from_millis(200);
        let timeout = Failure::Timeout { stage: Stage::Handshake, after };
        assert_eq!(made_in(authority.environment(), silent, &quick), timeout.into());
        let closed = closed_port(LOOPBACKS[0]);
        let outcome = made_in(authority.environment(), closed, &quick);
        assert_eq!(outcome, Failure::Refused.into());
    }

    #[test]
    fn files_that_cannot_be_used_say_nothing_of_the_target() {
        let authority = Authority::new();
        let server = tls_server(LOOPBACKS[0], authority.server(&[NAME], 30), None);
        for (tls, error) in [
            (TlsOptions { ca: Some("no.pem".to_owned()), ..named() }, "no.pem: No such file"),
            (TlsOptions { ca: Some("../ca.pem".to_owned()), ..named() }, "../ca.pem: not the name"),
            (TlsOptions { ca: Some("client.key".to_owned()), ..named() }, "no certificate in it"),
            (TlsOptions { ca: None, ..named() }, "/nonexistent/ca.pem: No such file"),
            (
                TlsOptions {
                    client: Some(ClientCertificate {
                        certificate: "client.pem".to_owned(),
                        key: "ca.pem".to_owned(),
                    }),
                    ..named()
                },
                "no private key",
            ),
            (TlsOptions { sni: Some("a b".to_owned()), ..named() }, "sni `a b`"),
        ] {
            let outcome = made_in(authority.environment(), server, &check(tls, None));
            match &outcome {
                Outcome::Unknown(Fault::Setup { error: it }) => {
                    assert!(it.contains(error), "{it}");
                }
                other => panic!("{other:?}"),
            }
        }
    }
}
