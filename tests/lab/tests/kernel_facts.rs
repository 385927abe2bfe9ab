//! Tests known facts about the kernel's table, one test per fact, so that a change of the kernel
//! makes a test fail. The facts have numbers, P1 to P50 and P53, with which the names of the tests begin;
//! facts that other tests cover are not repeated here but referenced. Rules of behaviour (P26) and
//! facts about addresses (P35 to P40) are not included.
//!
//! | fact | about | tests here | elsewhere |
//! |---|---|---|---|
//! | P1 | what identifies a service | `p01` | `ipvs::a_mark_is_a_separate_service_in_each_family` |
//! | P2 | what identifies a destination | `p02`; the kernel's `BUG_ON` for a change of family cannot be reached: the family is part of the key | `engine::edits::a_tunnel_becomes_another_one_in_place` |
//! | P3 | addresses and families in replies | `p03`; what kernels before 3.18 omit is tested without a kernel | `ipvs::a_tunnel_reaches_the_other_family` |
//! | P4 | byte order | `p04` | |
//! | P5 | 32 bits | `p05` | `ipvs::weights_and_thresholds_keep_all_their_bits` |
//! | P6 | the kernel's own flag, unknown ones | `p06` | `ipvs::a_bit_that_the_kernel_sets_itself_may_be_sent_back` |
//! | P7 | timeouts of persistence | `p07` | `ipvs::persistence_keeps_its_timeout_and_netmask` |
//! | P8 | netmasks | `p08` | `ipvs::refusals::each_refusal_has_its_reason_and_its_index_in_the_batch`, `engine::kernels::netmasks_are_refused_and_replaced_alike` |
//! | P9 | names and flags of schedulers | `p09` | `ipvs::services_of_each_protocol_and_family_read_back_as_written` (`none`), `ipvs::engine_one_packet_and_scheduler_flags_are_kept` |
//! | P10 | persistence engines | `p10` | `ipvs::setting_replaces_all_values_that_are_not_sent` |
//! | P11 | an edit replaces everything | `p11` | `ipvs::setting_replaces_all_values_that_are_not_sent` |
//! | P12 | a scheduler that fails | `p12`; a service is left without one only if memory is exhausted at that moment | `engine::edits::a_scheduler_without_a_module_stops_the_pass_before_the_first_change` |
//! | P13 | error numbers | `p13` | `ipvs::refusals::each_refusal_has_its_reason_and_its_index_in_the_batch`, `engine::writers` |
//! | P14 | thresholds | `p14` | `ipvs::refusals::each_refusal_has_its_reason_and_its_index_in_the_batch` |
//! | P15 | tunnel attributes | `p15` | `ipvs::destinations_of_each_forwarding_method_read_back_as_written` |
//! | P16 | mixed families and daemons | | `ipvs::global::daemons_and_destinations_of_another_family_exclude_each_other` |
//! | P17 | valid addresses | `p17` | `engine::kernels::only_unicast_and_local_addresses_become_real_servers` |
//! | P18 | unchecked values | | `engine::kernels::values_of_other_tools_are_kept_alike` |
//! | P19 | methods of other tools | `p19` | `engine::kernels::values_of_other_tools_are_kept_alike` |
//! | P20 | deleting under connections | `p20` | |
//! | P21 | connections and statistics after deleting and adding again | `p21` | |
//! | P22 | weight 0 | `p22` | |
//! | P23 | order in sh and mh | `p23` | `ipvs::destinations_of_each_forwarding_method_read_back_as_written` (the list) |
//! | P24 | meaning of a weight | `p24` | |
//! | P25 | no real server behind a VIP | `p25` | `ipvs::deleting_a_destination_keeps_the_others_and_deleting_a_service_deletes_them` |
//! | P27 | reading during changes | `p27` | |
//! | P28 | no notifications | `p28` | `host::a_list_of_many_addresses_is_complete_while_another_program_changes_it` (those of addresses) |
//! | P29 | user namespaces | `p29` | `cli::permissions::root_of_a_user_namespace_gets_the_same_error` |
//! | P30 | the missing family | `p30` | `ipvs::kernel_modules::a_kernel_without_ipvs_gets_it_loaded_or_the_error_says_so` |
//! | P31 | replies and their loss | `p31` | `ipvs::refusals::none_of_thousands_of_refusals_is_lost`, `ipvs::a_large_table_is_written_and_read_completely` |
//! | P32 | timeouts | | `ipvs::global::a_timeout_of_zero_keeps_the_current_one`, `ipvs::global::a_timeout_is_limited_by_its_ticks_and_a_refused_one_changes_none` |
//! | P33 | sync daemons | `p33` | `ipvs::global::a_running_daemon_is_neither_started_again_nor_changed`, `ipvs::global::the_kernel_chooses_the_values_that_a_daemon_omits`, `ipvs::global::refusals_of_daemons_have_their_reasons` |
//! | P34 | flushing | `p34` | |
//! | P41 | the trash list | its length affects only time, which is measured and not tested; `p17` and `p21` show that it exists | |
//! | P42 | mh | `p42`, the result; its cost is time | |
//! | P43 | `lo` down | | `ipvs::refusals::a_new_destination_needs_lo_to_be_up` |
//! | P44 | privileges | | `cli::permissions::an_ordinary_user_with_that_one_capability_can_do_everything`, `ipvs::refusals::reading_and_writing_without_cap_net_admin_is_not_permitted` |
//! | P45 | counts in direct routing | `p45` | |
//! | P46 | reused ports | `p46`, `p22` | |
//! | P47 | weight 0 in sh, mh and dh | `p47` | |
//! | P48 | `/proc/net/ip_vs` | `p48` | |
//! | P49 | unbinding | `p49` | |
//! | P50 | a change of the scheduler | `p50`, for connections; the gap is an RCU grace period, which one processor does not have | |
//! | P53 | sysctls that rewrite others | `p53` | `cli::sysctls::a_teardown_brings_back_every_sysctl_that_the_kernel_rewrote` |

use std::net::SocketAddr;

use evenkeel_ipvs::{
    Client, Command, Destination, DestinationKey, Family, Name, RefusalReason, Service, ServiceKey,
};
use evenkeel_lab_tests::{fresh_namespace, run};

mod cluster;
mod connections;
mod destinations;
mod director;
mod forwarding;
mod module;
mod reading;
mod schedulers;
mod services;
mod table;
mod wire;

fn client() -> Client {
    fresh_namespace();
    Client::connect().unwrap()
}

fn service(text: &str, protocol: u16, scheduler: &str) -> Service {
    let name: SocketAddr = text.parse().unwrap();
    let key = ServiceKey::Address { address: name.ip(), port: name.port(), protocol };
    Service::new(key, Name::new(scheduler).unwrap())
}

fn marked(family: Family, fwmark: u32) -> Service {
    Service::new(ServiceKey::Fwmark { family, fwmark }, Name::new("rr").unwrap())
}

fn destination(text: &str, forward: u32) -> Destination {
    let name: SocketAddr = text.parse().unwrap();
    Destination::new(DestinationKey { address: name.ip(), port: name.port() }, forward)
}

fn done(client: &mut Client, commands: impl IntoIterator<Item = Command>) {
    assert_eq!(client.execute(commands).unwrap(), []);
}

/// Returns the reason for which the kernel refused a command, or `None` if it did not.
fn reason(client: &mut Client, command: Command) -> Option<RefusalReason> {
    let refusals = client.execute([command]).unwrap();
    refusals.first().map(|it| it.refusal.reason())
}
