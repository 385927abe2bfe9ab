//! Plans the ordered operations that bring the live state to the desired state.
//!
//! Pure: no I/O and no clock; the same inputs give the same plan, byte for byte. Both states are
//! converted to one [canonical](canonical) form before they are compared; only that form decides
//! what counts as equal.

mod adopted;
mod bindings;
pub mod canonical;
mod cause;
mod clients;
mod clock_reading;
mod connection_sysctls;
mod counts;
mod diff;
mod difference;
mod field;
mod foreign_vips;
mod guard;
mod health_warnings;
mod hold_back;
mod impact;
mod impact_analysis;
mod inputs;
mod leaving;
mod left_scope;
mod lost_files;
mod object;
mod op;
mod order;
mod others_membership;
mod overlay;
mod owners;
mod plan;
mod plan_staleness;
mod precondition;
mod prior_state;
pub mod render;
mod resource;
mod rollback_builder;
mod rollback_plan;
mod service_selection;
mod simulate;
mod subnet;
mod sync_links;
mod sysctl_side_effects;
mod teardown;
#[cfg(test)]
mod test_fixtures;
mod unchanged;
mod unreachable;
mod utc_time;
mod value;
mod warning;
#[cfg(test)]
mod wording;

pub use adopted::{Adopted, Governed};
pub use cause::Cause;
pub use clock_reading::{BootId, ClockReading, InvalidBootId, Uptime};
pub use counts::Counts;
pub use field::{FieldChange, FieldValue};
pub use foreign_vips::{foreign_vips, released_vips, vip_manager_warning};
pub use guard::{
    Advice, CutOff, Guard, GuardRefusal, Lack, Reason, UnknownGuard, cut_off,
    guards_without_journal, has_end_mark, interrupted_addresses,
};
pub use hold_back::hold_back;
pub use impact::{Effect, Impact};
pub use inputs::Inputs;
pub use leaving::{
    DEFAULT_INTERVAL, Leaving, LeavingInputs, LeavingPart, PartRecord, RealServerRecords,
    StayingObject, leaving,
};
pub use left_scope::{
    LastSpec, LeftObjects, LeftScopeInputs, MadeObjects, forget_removed, left_objects, left_scope,
    narrows,
};
pub use lost_files::{Loss, LostFile, lost_files, may_have_lost_files};
pub use object::Object;
pub use op::{Op, Verb};
pub use order::Stage;
pub use overlay::{
    HeldServer, LaidOverlays, OverlaidServer, OverlayInputs, OverlayOrigin, OverlayRecords,
    UnknownTarget, lay_overlays, next_overlay_change, overridden, overrides_to_overlays,
};
pub use owners::{OtherOwner, OtherOwners, Overlap, SharedObject};
pub use plan::{Plan, WiderScope, plan};
pub use plan_staleness::staleness_diff;
pub use precondition::UnmetPrecondition;
pub use prior_state::{DrainRecords, Draining, PriorState, ReplacedObjects};
pub use resource::UNSET;
pub use rollback_builder::ObjectTrace;
pub use rollback_plan::{RollbackPlan, rollback_plan};
pub use service_selection::{ServiceSelection, UnknownSelection};
pub use simulate::simulate;
pub use sync_links::SyncLink;
pub use sysctl_side_effects::{MasterSysctl, recorded_key};
pub use teardown::{Remaining, StayingService, Stays, TeardownInputs, remaining, teardown};
pub use unchanged::Unchanged;
pub use warning::{KeptTimeout, LooserGuard, Warning};
