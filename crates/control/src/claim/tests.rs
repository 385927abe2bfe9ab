use super::*;

fn role(of: &str) -> Option<Role> {
    may_claim().then(|| Role::LOCK.for_test(of))
}

#[test]
fn no_two_roles_have_the_same_groups() {
    let roles = [Role::LOCK, Role::PENDING, Role::DAEMON, Role::CLIENT];
    let parts =
        roles.into_iter().flat_map(|role| [0, 1, 0xF_FFFF].map(|part| role.with_part(part)));
    let groups: Vec<u32> = parts
        .flat_map(|role| [Stage::Trying, Stage::Held].map(|stage| role.groups(stage)))
        .collect();
    let different: BTreeSet<&u32> = groups.iter().collect();
    assert_eq!(different.len(), groups.len());
}

#[test]
fn a_claim_is_visible_until_it_is_dropped_and_excludes_only_its_own_part() {
    let Some(role) = role("claim") else { return };
    let claim = role.claim().expect("it can be made").expect("it is free");
    assert!(role.claim().expect("it can be made").is_none());
    let Owner::Process(Some(owner)) = role.owner().expect("a list") else { panic!("it is held") };
    assert_eq!(owner.pid, Some(std::process::id()));
    let other = role.with_part(role.part() ^ 1);
    assert!(other.claim().expect("it can be made").is_some());
    drop(claim);
    assert_eq!(role.owner().expect("a list"), Owner::None);
    assert!(role.claim().expect("it can be made").is_some());
}

#[test]
fn a_process_that_only_tries_keeps_others_out_for_a_moment() {
    let Some(role) = role("trying") else { return };
    let trying = role.join(role.groups(Stage::Trying), Name::bind).expect("it can be made");
    assert!(role.claim().expect("it can be made").is_none());
    assert_eq!(role.owner().expect("a list"), Owner::None);
    drop(trying);
    assert!(role.claim().expect("it can be made").is_some());
}

#[test]
fn names_and_ports_of_other_processes_are_no_claim() {
    let Some(role) = role("squatted") else { return };
    let number = random().expect("a number");
    let _name = role.name(number).bind().expect("it can be asked for").expect("it is free");
    let flags = SocketFlags::CLOEXEC;
    let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, Some(USERSOCK));
    let socket = socket.expect("a socket");
    bind(&socket, &SocketAddrNetlink::new(number, 0)).expect("the port is free");
    assert_eq!(role.owner().expect("a list"), Owner::None);
    // Another set of groups is no claim either.
    let more = role.groups(Stage::Held) | 1 << 31 | role.groups(Stage::Held) << 1;
    bind(&socket, &SocketAddrNetlink::new(number, more)).expect("a member");
    assert_eq!(role.owner().expect("a list"), Owner::None);
    assert!(role.claim().expect("it can be made").is_some());
}

#[test]
fn daemons_of_two_owners_run_beside_each_other_unless_their_names_have_the_same_hash() {
    if !may_claim() {
        return;
    }
    let of = |name: &str| Role::DAEMON.of_owner(Some(name));
    // Some thousand names are enough for two with the same of a million hashes.
    let mut seen = std::collections::BTreeMap::new();
    let name = |number: u32| format!("test-{}-{number}", std::process::id());
    let (first, second) = (0..)
        .find_map(|number| Some((seen.insert(of(&name(number)).part(), number)?, number)))
        .map(|(first, second)| (name(first), name(second)))
        .expect("two names");
    let claim = of(&first).claim().expect("it can be made").expect("it is free");
    assert!(of(&second).claim().expect("it can be made").is_none());
    // No client takes the daemon of one for that of the other.
    let is_running = |name: &str| crate::Client::of_owner(Some(name)).is_daemon_running();
    assert!(is_running(&first) && !is_running(&second));
    let other = format!("{first}-");
    assert!(of(&other).claim().expect("it can be made").is_some());
    drop(claim);
    assert!(of(&second).claim().expect("it can be made").is_some());
}
