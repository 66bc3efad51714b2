//! The answers of a store that come from its index alone.

/// The methods of [`Storage`](super::Storage) that a store answers from its fields `index`, `bytes` and `last_time`.
macro_rules! answers_of_index {
    () => {
        fn state(&self) -> $crate::store::StoreState {
            $crate::store::StoreState {
                messages: self.index.messages(),
                bytes: self.bytes,
                first_sequence: self.index.first(),
                last_sequence: self.index.last(),
                last_time: self.last_time,
                subjects: self.index.subjects(),
            }
        }

        fn subject(&self, subject: &[u8]) -> Option<$crate::store::SubjectState> {
            self.index.subject(subject)
        }

        fn subject_of(&self, sequence: u64) -> Option<&[u8]> {
            self.index.subject_of(sequence)
        }

        fn for_each_subject(
            &self,
            filters: &$crate::filters::Filters,
            visit: &mut dyn FnMut(&[u8], $crate::store::SubjectState) -> bool,
        ) {
            self.index.for_each_subject(filters, visit);
        }

        fn next_match(&self, filters: &$crate::filters::Filters, from: u64) -> Option<u64> {
            self.index.next_match(filters, from)
        }

        fn previous_match(&self, filters: &$crate::filters::Filters, until: u64) -> Option<u64> {
            self.index.previous_match(filters, until)
        }

        fn count(
            &self,
            filters: &$crate::filters::Filters,
            from: u64,
            last_per_subject: bool,
        ) -> u64 {
            self.index.count(filters, from, last_per_subject)
        }

        fn for_each_gap(&self, visit: &mut dyn FnMut(u64, u64) -> bool) {
            self.index.for_each_gap(visit);
        }
    };
}

pub(super) use answers_of_index;
