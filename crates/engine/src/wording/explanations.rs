//! The explanations of the kernel's refusals.

use evenkeel_model::{
    Forward, HostObject, HostRoute, Protocol, RealServer, RealServerKey, Scheduler, ServiceConfig,
    ServiceKey, SyncDaemon, SyncState, Timeouts,
};
use evenkeel_plan::Op;
use rustix::io::Errno;

use super::golden::Golden;
use super::{vip, vip_ipv6};
use crate::{Refused, explain, explain_zero};

pub(super) fn add(golden: &mut Golden) {
    golden.add_texts("Refused operations", explanations());
    let zero = [Errno::SRCH, Errno::PERM].map(|errno| explain_zero(&errno.into()));
    golden.add_texts("Refused resets", zero.to_vec());
}

fn explanations() -> Vec<String> {
    let service = ServiceKey::Address { address: vip().address, port: 80, protocol: Protocol::Tcp };
    let key = RealServerKey { address: [198, 51, 100, 1].into(), port: 80 };
    let key_ipv6 = RealServerKey { address: vip_ipv6().address, port: 80 };
    let config = Box::new(ServiceConfig::new(Scheduler::new("mh").expect("a scheduler")));
    let with_engine = Box::new(ServiceConfig { engine: Some("sip".into()), ..(*config).clone() });
    let add_service = Op::AddService { key: service, after: config };
    let after = RealServer::new(Forward::Dr, 1);
    let add = |key| Op::AddRealServer { service, key, after };
    let edit = Op::EditRealServer { service, key, before: Box::new(after), after };
    let daemon = SyncDaemon {
        interface: "eth1".into(),
        id: 7,
        max_length: None,
        group: None,
        port: None,
        ttl: None,
    };
    let sync = Op::AddSync { state: SyncState::Master, after: Box::new(daemon) };
    let route = HostObject::Route(HostRoute::of(&vip()));
    let value = Box::new(HostRoute::of(&vip()).value());
    let add_route = Op::AddHostObject { object: route.clone(), after: value.clone() };
    let delete_route = Op::DeleteHostObject { object: route, before: value };
    let bind = |binding| Op::Bind { binding, label: None };
    let sysctl = Op::EditSysctl {
        key: "net.ipv4.conf.lo.arp_ignore".into(),
        before: "0".into(),
        after: "1".into(),
        rewrites: [].into(),
    };
    let (before, after) = (Timeouts::INITIAL, Timeouts { tcp: 1, ..Timeouts::INITIAL });
    let refused = [
        (&add_service, Errno::NOENT),
        (&Op::AddService { key: service, after: with_engine }, Errno::NOENT),
        (&add_service, Errno::EXIST),
        (&add_service, Errno::AFNOSUPPORT),
        (&Op::AddModule { module: "ip_vs_mh".into() }, Errno::NOENT),
        (&add(key), Errno::SRCH),
        (&add(key), Errno::INVAL),
        (&add(key_ipv6), Errno::INVAL),
        (&add(key), Errno::RANGE),
        (&edit, Errno::NOENT),
        (&sync, Errno::NODEV),
        (&sync, Errno::NETUNREACH),
        (&sync, Errno::ADDRNOTAVAIL),
        (&sync, Errno::INVAL),
        (&add_route, Errno::NETDOWN),
        (&add_route, Errno::NODEV),
        (&delete_route, Errno::SRCH),
        (&sysctl, Errno::ROFS),
        (&sysctl, Errno::PERM),
        (&sysctl, Errno::NOENT),
        (&sysctl, Errno::INVAL),
        (&bind(vip()), Errno::NODEV),
        (&bind(vip()), Errno::ACCESS),
        (&bind(vip_ipv6()), Errno::ACCESS),
        (&Op::EditTimeouts { before, after }, Errno::PERM),
        (&add(key), Errno::NOMEM),
        (&add(key), Errno::BUSY),
    ];
    let mut texts = refused.map(|(op, errno)| explain(op, &errno.into())).to_vec();
    let message = Some("Device does not allow enslaving".into());
    texts.push(explain(&bind(vip()), &Refused { errno: Errno::BUSY, message }));
    texts
}
