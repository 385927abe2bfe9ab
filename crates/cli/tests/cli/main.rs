//! Runs the program as users do: with arguments, two output streams and an exit status. The lab
//! tests what needs a kernel with IPVS.

mod bad_input;
mod cut_off;
mod exit_codes;
mod golden;
mod json;
mod offline_plans;
mod parameters;
mod program;
mod secrets;
mod specs;
mod state_dir;
mod streams;
