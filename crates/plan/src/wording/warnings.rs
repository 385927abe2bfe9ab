//! The texts of warnings.

use super::*;
use crate::field::{FieldChange, FieldValue};
use crate::{Guard, KeptTimeout, LooserGuard, Warning};

pub(super) fn add(golden: &mut Golden) {
    section!(
        golden,
        Warning {
            OtherPrefix,
            LeftToBinder,
            VipManagers,
            OtherLabel,
            OtherValue,
            AnsweredElsewhere,
            InterfaceDown,
            Reordered,
            DroppingDrains,
            MarkedConnections,
            SessionsUnread,
            TimeoutStays,
            TimeoutsKept,
            DeviceStays,
            RouteNotRestored,
            OtherGateway,
            TunnelStays,
            Untranslated,
            NotLocal,
            NoServers,
            AllHeld,
            OverrideExpired,
            MaintenanceNames,
            MaintenanceUnread,
            VipWithheld,
            ConnectionsHang,
            PersistentClientsStay,
            PartsStay,
            LooserGuards,
            GuardsNotJudged,
        },
        displayed(warnings())
    );
}

fn warnings() -> Vec<Warning> {
    let reordered = |real_servers, is_teardown| Warning::Reordered {
        service: "web/192.0.2.1:80/tcp".to_owned(),
        real_servers,
        is_teardown,
    };
    let not_restored = |interface: Option<&str>| Warning::RouteNotRestored {
        route: DefaultRoute { family: Family::Ipv4 },
        former: "via 192.0.2.254 dev eth0 metric 100".to_owned(),
        interface: interface.map(Into::into),
    };
    let other_gateway = |gateway, is_missing| Warning::OtherGateway {
        family: Family::Ipv4,
        gateway,
        is_missing,
        expected: [[192, 0, 2, 2].into(), [192, 0, 2, 3].into()].into(),
    };
    let looser = |key, judging: &str, desired: &str| LooserGuard {
        key,
        judging: judging.to_owned(),
        desired: desired.to_owned(),
    };
    vec![
        Warning::OtherPrefix { bound: Binding { prefix: 24, ..vip() }, desired: 32 },
        Warning::OtherPrefix { bound: Binding { prefix: 64, ..vip_ipv6() }, desired: 128 },
        Warning::LeftToBinder { vip: vip() },
        Warning::LeftToBinder { vip: vip_ipv6() },
        Warning::VipManagers { managers: vec!["keepalived"], vips: [vip().address].into() },
        Warning::VipManagers {
            managers: vec!["keepalived", "vrrpd"],
            vips: [vip().address, vip_ipv6().address].into(),
        },
        Warning::OtherLabel { bound: vip(), label: "eth0".into(), desired: "eth0:web".into() },
        Warning::OtherValue {
            object: HostRoute::of(&vip()).into(),
            changes: vec![FieldChange {
                field: "source",
                before: FieldValue::None,
                after: FieldValue::Word(vip().address.to_string()),
            }],
        },
        Warning::OtherValue {
            object: HostRoute::of(&vip_ipv6()).into(),
            changes: vec![FieldChange {
                field: "source",
                before: FieldValue::Word("2001:db8::9".to_owned()),
                after: FieldValue::Word(vip_ipv6().address.to_string()),
            }],
        },
        Warning::AnsweredElsewhere { bound: vip() },
        Warning::InterfaceDown { interface: "eth0".into(), vip: vip().address },
        Warning::InterfaceDown { interface: "eth0".into(), vip: vip_ipv6().address },
        reordered(1, false),
        reordered(2, true),
        Warning::DroppingDrains { is_teardown: false },
        Warning::DroppingDrains { is_teardown: true },
        Warning::MarkedConnections {
            vip: vip().address,
            connections: 1,
            services: "mail/fwmark-7/ipv4".to_owned(),
        },
        Warning::SessionsUnread {
            vips: [vip().address, vip_ipv6().address].into(),
            why: "cannot list the sockets of TCP: the kernel has none".to_owned(),
        },
        Warning::MarkedConnections {
            vip: vip_ipv6().address,
            connections: 17,
            services: "a/fwmark-7/ipv6 and b/fwmark-8/ipv6".to_owned(),
        },
        Warning::TimeoutStays { field: "tcp_fin", seconds: 60 },
        Warning::TimeoutsKept(vec![KeptTimeout { field: "tcp", seconds: 900 }]),
        Warning::TimeoutsKept(vec![
            KeptTimeout { field: "tcp", seconds: 900 },
            KeptTimeout { field: "udp", seconds: 300 },
        ]),
        Warning::DeviceStays { interface: "vip0".into(), bound: vip() },
        Warning::DeviceStays { interface: "vip0".into(), bound: vip_ipv6() },
        not_restored(Some("eth0")),
        not_restored(None),
        other_gateway(Some([192, 0, 2, 254].into()), false),
        other_gateway(None, true),
        other_gateway(None, false),
        Warning::TunnelStays { interface: "tunl0".into(), bound: vip() },
        Warning::Untranslated(vec!["web/192.0.2.1:80/tcp".into()]),
        Warning::NotLocal(vec!["web/192.0.2.1:80/tcp".into()]),
        Warning::NoServers(vec!["web/192.0.2.1:80/tcp".into(), "mail/192.0.2.1:25/tcp".into()]),
        Warning::AllHeld(vec!["web/192.0.2.1:80/tcp".into()]),
        Warning::OverrideExpired { target: "web/10.0.0.5".into(), until: 1_767_268_800 },
        Warning::MaintenanceNames {
            directory: "/etc/evenkeel/maintenance".into(),
            names: vec!["web1.example".into()],
        },
        Warning::MaintenanceUnread {
            directory: "/etc/evenkeel/maintenance".into(),
            error: "Permission denied (os error 13)".into(),
        },
        Warning::VipWithheld {
            vip: [192, 0, 2, 1].into(),
            service: "web/192.0.2.1:80/tcp".into(),
            is_starting: true,
        },
        Warning::VipWithheld {
            vip: [192, 0, 2, 1].into(),
            service: "web/192.0.2.1:80/tcp".into(),
            is_starting: false,
        },
        Warning::ConnectionsHang(vec!["web/192.0.2.1:80/tcp".into()]),
        Warning::PersistentClientsStay(vec!["web/192.0.2.1:80/tcp".into()]),
        Warning::PartsStay(vec!["web/192.0.2.1:80/tcp".into(), "mail/192.0.2.1:25/tcp".into()]),
        Warning::LooserGuards(vec![looser("mass_delete", "50%", "off")]),
        Warning::LooserGuards(vec![
            looser("mass_delete_from", "4", "10"),
            looser("unbind_in_use", "0", "100"),
        ]),
        Warning::GuardsNotJudged(vec![Guard::TakeOver]),
        Warning::GuardsNotJudged(vec![Guard::CutOff, Guard::TakeOver, Guard::MissingFile]),
    ]
}
