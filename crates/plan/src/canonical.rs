//! The one form in which states are compared.
//!
//! The kernel keeps and echoes values that mean nothing where they stand (the port of an ipip
//! tunnel, say). Left in, each would be a difference that no operation can close. Both sides go
//! through the same functions, so that "equal" is decided here and nowhere else.

use evenkeel_model::{Forward, RealServer, Tunnel, TunnelKind};

/// A real server in canonical form.
///
/// A service's own configuration needs no such step: what means nothing there (the timeout of a
/// service without persistence) has no place in its type.
pub fn real_server(mut real_server: RealServer) -> RealServer {
    real_server.forward = forward(real_server.forward);
    real_server
}

/// A forwarding method without the parameters that its tunnel does not have: only GUE has a port,
/// and ipip has no checksum (`ip_vs_tunnel_xmit` looks at neither).
fn forward(forward: Forward) -> Forward {
    let Forward::Tun(Tunnel { kind, port, checksum }) = forward else {
        return forward;
    };
    Forward::Tun(match kind {
        TunnelKind::Ipip => Tunnel::IPIP,
        TunnelKind::Gre => Tunnel { kind, port: 0, checksum },
        TunnelKind::Gue | TunnelKind::Other(_) => Tunnel { kind, port, checksum },
    })
}

#[cfg(test)]
mod tests {
    use evenkeel_model::Checksum;

    use super::*;

    #[test]
    fn what_a_tunnel_does_not_have_is_dropped() {
        let tunnel = |kind, port, checksum| Forward::Tun(Tunnel { kind, port, checksum });
        let stored = tunnel(TunnelKind::Ipip, 6080, Checksum::Full);
        assert_eq!(forward(stored), Forward::Tun(Tunnel::IPIP));
        let stored = tunnel(TunnelKind::Gre, 6080, Checksum::Full);
        assert_eq!(forward(stored), tunnel(TunnelKind::Gre, 0, Checksum::Full));
        let stored = tunnel(TunnelKind::Gue, 6080, Checksum::Remote);
        assert_eq!(forward(stored), stored);
    }
}
