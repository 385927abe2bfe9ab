//! Whose fault an error is: the target's or this host's.

use std::io;
use std::time::{Duration, SystemTime};

use rustix::io::Errno;
use rustls::CertificateError;

use crate::outcome::{Failure, Fault};

/// A time that was over when this was written: a clock before it is not set. It is the start of 2026.
const EARLIEST: Duration = Duration::from_secs(1_767_225_600);

/// Why a probe did not pass.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Problem {
    Failure(Failure),
    Fault(Fault),
}

impl From<Failure> for Problem {
    fn from(failure: Failure) -> Self {
        Self::Failure(failure)
    }
}

impl From<Fault> for Problem {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

impl Problem {
    /// An error of an exchange with the target: the target's, if it is not one that only this host can make.
    pub(crate) fn of_exchange(error: &io::Error) -> Self {
        if let Some(error) = error.get_ref().and_then(|it| it.downcast_ref::<rustls::Error>()) {
            return Self::of_tls(error, SystemTime::now());
        }
        if let Some(fault) = errno(error).and_then(local) {
            return fault.into();
        }
        match errno(error) {
            Some(Errno::CONNREFUSED) => Failure::Refused,
            Some(Errno::CONNRESET | Errno::CONNABORTED | Errno::PIPE) => Failure::Reset,
            Some(Errno::NETUNREACH | Errno::HOSTUNREACH | Errno::HOSTDOWN) => Failure::Unreachable,
            _ => match error.kind() {
                io::ErrorKind::UnexpectedEof => Failure::Closed,
                // Only TLS reports this. HTTP/2 keeps the text of an error alone.
                io::ErrorKind::InvalidData => Failure::Tls { error: error.to_string() },
                io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset => Failure::Reset,
                _ => Failure::Connection { error: error.to_string() },
            },
        }
        .into()
    }

    /// An error of TLS: the target's, unless a clock that is not set makes certificates seem too new.
    fn of_tls(error: &rustls::Error, now: SystemTime) -> Self {
        let is_too_new = matches!(
            error,
            rustls::Error::InvalidCertificate(
                CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. }
            )
        );
        if is_too_new && now < SystemTime::UNIX_EPOCH + EARLIEST {
            let error = "the clock of this host is not set: certificates cannot be verified";
            return Fault::Setup { error: error.to_owned() }.into();
        }
        Failure::Tls { error: error.to_string() }.into()
    }

    /// An error before anything was sent, as of opening a socket: always this host's.
    pub(crate) fn of_setup(error: &io::Error) -> Self {
        let fault = errno(error).and_then(local);
        fault.unwrap_or_else(|| Fault::Local { error: error.to_string() }).into()
    }

    /// An error of binding a socket to the source of a check.
    pub(crate) fn of_source(error: &io::Error) -> Self {
        match errno(error) {
            Some(Errno::ADDRNOTAVAIL) => Fault::Source.into(),
            _ => Self::of_setup(error),
        }
    }
}

fn errno(error: &io::Error) -> Option<Errno> {
    Errno::from_io_error(error)
}

/// What an error says of this host; `None`: it may say something of the target.
fn local(errno: Errno) -> Option<Fault> {
    Some(match errno {
        Errno::MFILE | Errno::NFILE => Fault::Descriptors,
        Errno::NOBUFS => Fault::Buffers,
        Errno::NOMEM => Fault::Memory,
        // AGAIN of connecting: the kernel has no entry left for the connection.
        Errno::ADDRNOTAVAIL | Errno::ADDRINUSE | Errno::AGAIN => Fault::Ports,
        Errno::ACCESS | Errno::PERM => Fault::NotPermitted,
        Errno::NETDOWN | Errno::NODEV | Errno::NXIO => Fault::LinkDown,
        Errno::AFNOSUPPORT | Errno::PROTONOSUPPORT | Errno::PFNOSUPPORT | Errno::SOCKTNOSUPPORT => {
            Fault::Unsupported
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_is_not_set_is_no_failure_of_a_certificate() {
        let error = rustls::Error::InvalidCertificate(CertificateError::NotValidYet);
        let at = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        let problem = Problem::of_tls(&error, at(1_000_000));
        assert!(matches!(problem, Problem::Fault(Fault::Setup { .. })));
        let problem = Problem::of_tls(&error, at(1_800_000_000));
        assert!(matches!(problem, Problem::Failure(Failure::Tls { .. })));
    }

    #[test]
    fn local_errors_are_faults_and_all_others_failures() {
        let exchange = |errno: Errno| Problem::of_exchange(&errno.into());
        for (errno, fault) in [
            (Errno::MFILE, Fault::Descriptors),
            (Errno::NFILE, Fault::Descriptors),
            (Errno::NOBUFS, Fault::Buffers),
            (Errno::NOMEM, Fault::Memory),
            (Errno::ADDRNOTAVAIL, Fault::Ports),
            (Errno::PERM, Fault::NotPermitted),
            (Errno::ACCESS, Fault::NotPermitted),
            (Errno::NETDOWN, Fault::LinkDown),
            (Errno::AFNOSUPPORT, Fault::Unsupported),
        ] {
            assert_eq!(exchange(errno), fault.clone().into());
            assert_eq!(Problem::of_setup(&errno.into()), fault.into());
        }
        assert_eq!(exchange(Errno::CONNREFUSED), Failure::Refused.into());
        assert_eq!(exchange(Errno::CONNRESET), Failure::Reset.into());
        // No route is a failure of the target: others may be reached.
        assert_eq!(exchange(Errno::NETUNREACH), Failure::Unreachable.into());
        assert_eq!(exchange(Errno::HOSTUNREACH), Failure::Unreachable.into());
        assert!(matches!(exchange(Errno::PROTO), Problem::Failure(Failure::Connection { .. })));
        let setup = Problem::of_setup(&Errno::PROTO.into());
        assert!(matches!(setup, Problem::Fault(Fault::Local { .. })));
        let source = Problem::of_source(&Errno::ADDRNOTAVAIL.into());
        assert_eq!(source, Fault::Source.into());
    }
}
