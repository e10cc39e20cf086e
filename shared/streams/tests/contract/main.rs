//! The contract of the port to a log (`broker::Broker` and what it hands out): each behaviour
//! once, run on every broker, so that `cargo test` prints a row for each pair.
//!
//! The behaviours take what the port documents and what Kafka is known for; none of them knows
//! which broker it runs on. What cannot be asked of a broker stands in the table with the
//! reason, which `cargo test` prints in its place.

/// Every behaviour, by subject. One that cannot run on all brokers names those that it cannot run
/// on, with the reason.
macro_rules! contract {
    ($broker:ident) => {
        rows! {
            $broker;
            topics {
                a_topic_is_described_as_it_was_created;
                a_topic_has_an_id_that_no_other_has;
                a_topic_changes_and_loses_nothing_by_itself;
                creating_again_keeps_the_topic_as_it_is;
                an_unknown_topic_is_described_as_none;
                an_empty_list_of_names_asks_for_all;
                a_new_topic_is_empty_and_can_be_used_at_once;
                a_topic_without_partitions_is_refused;
                the_cluster_keeps_its_id;
            }
            appender {
                acks_bring_growing_offsets_and_order_is_kept;
                an_unknown_partition_is_refused;
                an_unknown_topic_is_refused;
                what_is_stamped_too_far_ahead_is_refused;
                without_a_bound_nothing_is_too_far_ahead;
                what_is_stamped_before_the_earliest_time_is_refused;
                a_compacted_topic_refuses_a_record_without_key;
                a_refusal_does_not_stop_what_comes_after;
                null_and_empty_are_told_apart;
                headers_survive;
                timestamps_survive;
                a_large_value_survives;
                what_is_acknowledged_is_readable;
                many_writers_lose_nothing_and_double_nothing;
                what_was_taken_is_written_before_the_appender_ends;
            }
            readers {
                a_reader_begins_in_the_middle;
                a_reader_at_the_end_is_woken;
                an_empty_partition_gives_its_position;
                slots_are_in_the_order_asked_for;
                a_fetch_is_bounded_and_loses_nothing;
                readers_do_not_share_a_position;
                a_position_beyond_the_end_is_out_of_range;
                an_unknown_partition_cannot_be_read;
            }
            offsets {
                start_and_end_of_each_partition;
                a_time_finds_the_first_record_at_or_after_it;
                a_time_finds_the_first_in_the_log_when_stamps_go_back;
                an_unknown_partition_has_no_offset;
                no_partition_no_answer;
                an_unknown_group_has_committed_nothing;
            }
            transactions {
                open_records_are_invisible_until_the_commit;
                a_commit_shows_all_topics_and_partitions;
                aborted_records_are_never_seen;
                the_transaction_after_an_abort_holds_only_its_own;
                many_aborts_in_a_row_leave_nothing_behind;
                an_abort_of_nothing_is_fine;
                a_commit_of_nothing_holds;
                every_field_survives_a_transaction;
                a_large_transaction_holds_whole;
                a_transaction_is_read_from_any_of_its_records;
                transactions_of_two_producers_interleave;
                transactions_of_many_threads_keep_their_order;
                the_ends_lie_behind_the_transaction;
                a_refused_record_aborts_the_transaction;
                a_record_stamped_too_far_ahead_aborts_the_transaction;
                at_least_once_needs_no_transaction;
            }
            commits {
                offsets_come_with_the_transaction;
                offsets_alone_make_a_transaction;
                what_was_committed_before_an_open_transaction_is_told_at_once;
                an_aborted_transaction_commits_no_offset;
                a_later_offset_replaces_an_earlier_one;
                a_member_without_assignment_cannot_commit;
                a_stale_member_cannot_commit;
                a_member_commits_outside_of_transactions;
                a_member_that_left_cannot_commit;
                groups_keep_their_offsets_apart;
                a_deleted_group_has_committed_nothing;
                a_group_with_a_member_is_not_deleted;
            }
            fencing {
                a_second_producer_fences_the_first;
                a_fenced_producer_stays_fenced;
                offsets_of_a_fenced_producer_never_hold;
                a_new_producer_ends_what_a_dead_one_left_open;
                other_ids_are_not_fenced;
                a_second_member_of_an_instance_fences_the_first;
            }
            groups {
                a_member_alone_gets_every_partition;
                two_members_split_and_topics_stay_together;
                a_member_too_many_is_assigned_nothing;
                groups_do_not_share_partitions;
                what_is_revoked_can_be_committed_before_it_goes;
                each_rebalance_is_a_new_generation;
                leaving_hands_over_at_once;
                an_instance_that_comes_back_finds_its_partitions;
                a_silent_member_loses_its_partitions
                    not kafka "the client speaks for the member";
            }
            assignments {
                records_come_from_the_offset_assigned;
                assigning_again_reads_again;
                assignments_may_follow_at_once;
                only_what_is_assigned_is_read;
                an_empty_partition_gives_its_position;
                the_position_passes_the_end_of_transactions;
                a_member_sees_no_open_and_no_aborted_record;
                a_poll_is_woken_by_a_record;
                a_position_beyond_the_end_is_out_of_range;
            }
            durability {
                a_folder_opened_again_holds_everything
                    not kafka "a cluster is not opened by its user",
                        simulated "it has no folder";
                the_second_to_open_is_told_the_owner
                    not kafka "a cluster has no folder",
                        simulated "it has no folder";
                an_open_transaction_does_not_survive_its_process
                    not kafka "a cluster is not opened by its user",
                        simulated "it has no folder; its simulation does this";
                retention_moves_the_start
                    not kafka "it has a clock of its own",
                        simulated "it keeps everything";
                retention_survives_opening_again
                    not kafka "it has a clock of its own",
                        simulated "it keeps everything";
                compaction_keeps_the_last_of_each_key
                    not kafka "it compacts when it likes",
                        simulated "it keeps everything";
                a_follower_sees_what_is_appended
                    not kafka "a cluster has no folder",
                        simulated "it has no folder";
            }
        }
    };
}

/// Makes the table the tests of one broker, in whose module a function `with` lends it out.
macro_rules! rows {
    ($broker:ident; $($subject:ident {
        $($row:ident $(not $($other:ident $why:literal),+)?;)*
    })*) => {
        $(
            mod $subject {
                $(row! { $broker, $subject, $row $($(, $other $why)+)? })*
            }
        )*
    };
}

macro_rules! row {
    ($broker:ident, $subject:ident, $row:ident) => {
        #[test]
        fn $row() {
            super::with(stringify!($row), crate::$subject::$row);
        }
    };
    (kafka, $subject:ident, $row:ident, kafka $why:literal $($rest:tt)*) => {
        cannot_run! { kafka, $row, $why }
    };
    (simulated, $subject:ident, $row:ident, simulated $why:literal $($rest:tt)*) => {
        cannot_run! { simulated, $row, $why }
    };
    ($broker:ident, $subject:ident, $row:ident, $other:ident $why:literal $($rest:tt)*) => {
        row! { $broker, $subject, $row $($rest)* }
    };
}

macro_rules! cannot_run {
    ($broker:ident, $row:ident, $why:literal) => {
        #[test]
        fn $row() {
            crate::harness::cannot_run(stringify!($row), stringify!($broker), $why);
        }
    };
}

mod appender;
mod assignments;
mod commits;
mod durability;
mod embedded;
mod fencing;
mod groups;
mod harness;
mod kafka;
mod offsets;
mod readers;
mod simulated;
mod topics;
mod transactions;
