//! Second factors: a password alone does not log in to an account that has one (rows F01 and F05, and rules of ACCOUNTS).

mod enrolment;
mod histories;
mod log_ins;
mod mail_flows;
mod races;
mod recovery;
mod secrets;
mod strangers;
mod ways_in;
