use super::RequestedRole::{Auto, Exactly};
use super::RoleProblem::{
    GatewayAndMore, NoGateway, NoRealServer, NotListed, SeveralDirectors, SeveralListedGateways,
    UnknownDirector,
};
use super::*;
use crate::Role::{Director as AsDirector, Gateway as AsGateway, RealServer as AsRealServer};

/// A cluster, the host's addresses, what is requested, and the roles that follow.
type Row<'a> = (&'a Cluster, &'a str, Option<RequestedRole>, Result<HostRoles, RoleProblem>);

fn addresses(text: &str) -> BTreeSet<IpAddr> {
    text.split_whitespace().map(|it| it.parse().expect("an address")).collect()
}

fn cluster(directors: &[(&str, &str)], real_servers: &str) -> Cluster {
    let director = |(name, own): &(&str, &str)| Director {
        name: (*name).into(),
        addresses: addresses(own),
        mac: None,
    };
    let directors = directors.iter().map(director).collect();
    Cluster { directors, real_servers: addresses(real_servers), gateways: Vec::new() }
}

fn with_gateways(cluster: Cluster, gateways: &[(&str, &str)]) -> Cluster {
    let gateway =
        |(name, own): &(&str, &str)| Gateway { name: (*name).into(), addresses: addresses(own) };
    Cluster { gateways: gateways.iter().map(gateway).collect(), ..cluster }
}

fn named(name: &str, by: Option<&str>) -> Option<OwnDirector> {
    let by = by.map(|by| by.parse().expect("an address"));
    Some(OwnDirector::Named { name: name.into(), by })
}

#[test]
fn a_host_has_the_roles_that_its_addresses_and_the_request_give_it() {
    let none = cluster(&[], "10.0.0.11 10.0.0.12");
    let one = cluster(&[("lb1", "10.0.0.1 2001:db8::1")], "10.0.0.11 2001:db8::11");
    let two = cluster(&[("lb1", "10.0.0.1"), ("lb2", "10.0.0.2")], "10.0.0.1 10.0.0.11 10.0.0.12");
    let unnamed = || Some(OwnDirector::Unnamed);
    let is = |director: Option<OwnDirector>, real_server: &str| {
        Ok(HostRoles { director, real_server: addresses(real_server), gateway: None })
    };
    let several = || Err(SeveralDirectors(vec!["lb1".into(), "lb2".into()]));
    let rows: [Row<'_>; 24] = [
        // A spec of before: a director whatever its addresses.
        (&none, "192.0.2.77", None, is(unnamed(), "")),
        (&none, "", None, is(unnamed(), "")),
        (&none, "10.0.0.11", None, is(unnamed(), "")),
        (&none, "10.0.0.11", Some(Auto), is(None, "10.0.0.11")),
        (&none, "192.0.2.77", Some(Auto), Err(NotListed)),
        (&none, "10.0.0.11", Some(Exactly(AsRealServer)), is(None, "10.0.0.11")),
        (&none, "10.0.0.11", Some(Exactly(AsDirector)), is(unnamed(), "")),
        (&none, "192.0.2.77", Some(Exactly(AsRealServer)), Err(NoRealServer)),
        // One director.
        (&one, "127.0.0.1 10.0.0.1", None, is(named("lb1", Some("10.0.0.1")), "")),
        (&one, "2001:db8::1", None, is(named("lb1", Some("2001:db8::1")), "")),
        (&one, "10.0.0.11", None, is(None, "10.0.0.11")),
        (&one, "10.0.0.11 2001:db8::11", None, is(None, "10.0.0.11 2001:db8::11")),
        (&one, "192.0.2.77 10.0.0.111", None, Err(NotListed)),
        (&one, "", None, Err(NotListed)),
        (&one, "192.0.2.77", Some(Exactly(AsDirector)), is(named("lb1", None), "")),
        (&one, "10.0.0.1", Some(Exactly(AsRealServer)), Err(NoRealServer)),
        // Two directors, one of them a real server, too.
        (&two, "10.0.0.2", None, is(named("lb2", Some("10.0.0.2")), "")),
        (&two, "10.0.0.1", None, is(named("lb1", Some("10.0.0.1")), "10.0.0.1")),
        (&two, "10.0.0.1", Some(Exactly(AsDirector)), is(named("lb1", Some("10.0.0.1")), "")),
        (&two, "10.0.0.1", Some(Exactly(AsRealServer)), is(None, "10.0.0.1")),
        (&two, "10.0.0.1 10.0.0.2", None, several()),
        (&two, "10.0.0.1 10.0.0.2", Some(Exactly(AsDirector)), several()),
        (&two, "192.0.2.77", Some(Exactly(AsDirector)), Err(UnknownDirector)),
        (&two, "10.0.0.12 10.0.0.11", Some(Auto), is(None, "10.0.0.11 10.0.0.12")),
    ];
    for (number, (cluster, own, requested, expected)) in rows.into_iter().enumerate() {
        assert_eq!(
            roles(cluster, &addresses(own), requested, None),
            expected,
            "row {number}: {own}"
        );
    }
}

#[test]
fn a_gateway_is_neither_a_director_nor_a_real_server() {
    let one = cluster(&[("lb1", "10.0.0.1 2001:db8::1")], "10.0.0.11");
    let one = with_gateways(one, &[("r1", "10.0.0.254 2001:db8::fe"), ("r2", "10.0.0.253")]);
    let gateway = |name: &str, by: &str| {
        let by = by.parse().expect("an address");
        Ok(HostRoles { gateway: Some(OwnGateway { name: name.into(), by }), ..HostRoles::NONE })
    };
    let and = |director: Option<OwnDirector>, real_server: &str| {
        let real_server = addresses(real_server);
        let others = HostRoles { director, real_server, gateway: None };
        Err(GatewayAndMore { gateway: "r1".into(), others: Box::new(others) })
    };
    let lb1 = || named("lb1", Some("10.0.0.1"));
    let two = || Err(SeveralListedGateways(vec!["r1".into(), "r2".into()]));
    let real_server = || Ok(HostRoles { real_server: addresses("10.0.0.11"), ..HostRoles::NONE });
    let rows: [Row<'_>; 14] = [
        (&one, "10.0.0.254", None, gateway("r1", "10.0.0.254")),
        (&one, "2001:db8::fe 192.0.2.1", Some(Auto), gateway("r1", "2001:db8::fe")),
        (&one, "10.0.0.253", Some(Exactly(AsGateway)), gateway("r2", "10.0.0.253")),
        (&one, "10.0.0.11", Some(Exactly(AsGateway)), Err(NoGateway)),
        (&one, "10.0.0.252", None, Err(NotListed)),
        (&one, "10.0.0.254 10.0.0.253", None, two()),
        (&one, "10.0.0.254 10.0.0.253", Some(Exactly(AsGateway)), two()),
        (&one, "10.0.0.254 10.0.0.1", None, and(lb1(), "")),
        (&one, "10.0.0.254 10.0.0.11", None, and(None, "10.0.0.11")),
        (&one, "10.0.0.254 10.0.0.11 10.0.0.1", Some(Auto), and(lb1(), "10.0.0.11")),
        // A request for one role is clear.
        (&one, "10.0.0.254 10.0.0.11", Some(Exactly(AsGateway)), gateway("r1", "10.0.0.254")),
        (&one, "10.0.0.254 10.0.0.11", Some(Exactly(AsRealServer)), real_server()),
        (
            &one,
            "10.0.0.254 10.0.0.1",
            Some(Exactly(AsDirector)),
            Ok(HostRoles { director: lb1(), ..HostRoles::NONE }),
        ),
        (&one, "10.0.0.254", Some(Exactly(AsRealServer)), Err(NoRealServer)),
    ];
    for (number, (cluster, own, requested, expected)) in rows.into_iter().enumerate() {
        let found = roles(cluster, &addresses(own), requested, None);
        assert_eq!(found, expected, "row {number}: {own}");
    }
}

#[test]
fn what_is_recorded_of_a_role_stays_until_the_host_has_another_one() {
    use crate::FormerRole::{Gateway, RealServer};
    let gateway = OwnGateway { name: "r1".into(), by: [10, 0, 0, 254].into() };
    let gateway = HostRoles { gateway: Some(gateway), ..HostRoles::NONE };
    let real_server = HostRoles { real_server: addresses("10.0.0.11"), ..HostRoles::NONE };
    let both = HostRoles { director: named("lb1", None), ..real_server.clone() };
    for before in [None, Some(Gateway), Some(RealServer)] {
        assert_eq!(HostRoles::default().to_record(before), None);
        assert_eq!(both.to_record(before), None);
        assert_eq!(real_server.to_record(before), Some(RealServer));
        assert_eq!(gateway.to_record(before), Some(Gateway));
        assert_eq!(HostRoles::NONE.to_record(before), before);
    }
}

#[test]
fn a_former_real_server_or_gateway_never_becomes_a_director_by_itself() {
    let none = cluster(&[], "10.0.0.11");
    let one = cluster(&[("lb1", "10.0.0.1")], "10.0.0.11");
    let one = with_gateways(one, &[("r1", "10.0.0.254")]);
    let is = |director: Option<OwnDirector>, real_server: &str| {
        Ok(HostRoles { director, real_server: addresses(real_server), gateway: None })
    };
    let r1 = OwnGateway { name: "r1".into(), by: [10, 0, 0, 254].into() };
    let rows: [Row<'_>; 13] = [
        (&one, "10.0.0.12", None, Ok(HostRoles::NONE)),
        (&one, "10.0.0.12", Some(Auto), Ok(HostRoles::NONE)),
        (&one, "10.0.0.12", Some(Exactly(AsRealServer)), Ok(HostRoles::NONE)),
        (&one, "10.0.0.12", Some(Exactly(AsDirector)), is(named("lb1", None), "")),
        (&one, "10.0.0.12", Some(Exactly(AsGateway)), Ok(HostRoles::NONE)),
        (&one, "10.0.0.254", None, Ok(HostRoles { gateway: Some(r1), ..HostRoles::NONE })),
        (&one, "10.0.0.11", None, is(None, "10.0.0.11")),
        (&one, "10.0.0.1", None, is(named("lb1", Some("10.0.0.1")), "")),
        (&none, "10.0.0.254", None, Ok(HostRoles::NONE)),
        (&none, "10.0.0.12", None, Ok(HostRoles::NONE)),
        (&none, "10.0.0.11", None, is(None, "10.0.0.11")),
        (&none, "10.0.0.12", Some(Exactly(AsDirector)), is(Some(OwnDirector::Unnamed), "")),
        (&none, "10.0.0.12", Some(Exactly(AsRealServer)), Ok(HostRoles::NONE)),
    ];
    for (number, (cluster, own, requested, expected)) in rows.into_iter().enumerate() {
        for former in FormerRole::ALL.map(Some) {
            let found = roles(cluster, &addresses(own), requested, former);
            assert_eq!(found, expected, "row {number}, {former:?}");
        }
    }
}
