//! Search for imports that would lead messages back to the account that they came from.
//!
//! Accounts are numbered, and each import is an edge from the importing to the exporting account. An import forms a
//! cycle if following the imports of the exporting account whose subjects overlap leads back to the importing one. The
//! search visits each pair of an account and a subject once, so that its time is bounded by their number.

use std::collections::HashSet;

use super::error::ShareError;
use crate::limits::IMPORT_DEPTH;
use crate::subject::SubjectFilter;

/// The imports so far, by importing account.
#[derive(Default)]
pub(super) struct Graph {
    streams: Vec<Vec<Edge>>,
    services: Vec<Vec<Edge>>,
}

/// The imports of one account.
pub(super) struct Edges {
    streams: Vec<Edge>,
    services: Vec<Edge>,
}

#[derive(Eq, PartialEq)]
struct Edge {
    exporter: usize,
    /// The import is followed for subjects that overlap this one.
    met_by: SubjectFilter,
    /// The subject with which the search continues if it is narrower.
    narrows_to: SubjectFilter,
}

impl Graph {
    /// Makes room for that many accounts.
    pub(super) fn grow(&mut self, accounts: usize) {
        for all in [&mut self.streams, &mut self.services] {
            all.resize_with(accounts.max(all.len()), Vec::new);
        }
    }

    /// Removes the imports of an account.
    pub(super) fn clear(&mut self, importer: usize) -> Edges {
        let [streams, services] =
            [&mut self.streams, &mut self.services].map(|all| std::mem::take(&mut all[importer]));
        Edges { streams, services }
    }

    /// Returns true if an account has no longer all of these imports.
    pub(super) fn lacks_some_of(&self, importer: usize, before: &Edges) -> bool {
        let lacks = |now: &[Vec<Edge>], before: &[Edge]| {
            let now = &now[importer];
            // The usual case is quick: nothing has changed.
            !now.starts_with(before) && before.iter().any(|edge| !now.contains(edge))
        };
        lacks(&self.streams, &before.streams) || lacks(&self.services, &before.services)
    }

    /// Adds the import of a stream, whose subjects are `local` in the importing account.
    pub(super) fn add_stream(&mut self, importer: usize, exporter: usize, local: &SubjectFilter) {
        let (met_by, narrows_to) = (local.clone(), local.clone());
        self.streams[importer].push(Edge { exporter, met_by, narrows_to });
    }

    /// Adds the import of a service: `local` in the importing account, `subject` in the exporting one.
    pub(super) fn add_service(
        &mut self,
        importer: usize,
        exporter: usize,
        local: &SubjectFilter,
        subject: &SubjectFilter,
    ) {
        let (met_by, narrows_to) = (subject.clone(), local.clone());
        self.services[importer].push(Edge { exporter, met_by, narrows_to });
    }

    /// Checks a further import of a stream. `exports`: returns true if an account exports a subject as a stream.
    // NATS 2.14: accounts.go checkStreamImportsForCycles.
    pub(super) fn check_stream(
        &self,
        importer: usize,
        exporter: usize,
        subject: &SubjectFilter,
        exports: impl Fn(usize, &SubjectFilter) -> bool,
    ) -> Result<(), ShareError> {
        search(&self.streams, importer, exporter, subject, exports)
    }

    /// Checks a further import of a service, under its subject in the importing account.
    // NATS 2.14: accounts.go checkServiceImportsForCycles.
    pub(super) fn check_service(
        &self,
        importer: usize,
        exporter: usize,
        subject: &SubjectFilter,
    ) -> Result<(), ShareError> {
        search(&self.services, importer, exporter, subject, |_, _| true)
    }
}

fn search(
    edges: &[Vec<Edge>],
    importer: usize,
    exporter: usize,
    subject: &SubjectFilter,
    goes_on: impl Fn(usize, &SubjectFilter) -> bool,
) -> Result<(), ShareError> {
    if edges[exporter].is_empty() {
        return Ok(());
    }
    let mut seen = HashSet::from([(exporter, subject.clone())]);
    let mut left = vec![(exporter, subject.clone(), 1)];
    while let Some((account, subject, depth)) = left.pop() {
        if depth >= IMPORT_DEPTH {
            return Err(ShareError::CycleDepth);
        }
        if !goes_on(account, &subject) {
            continue;
        }
        for edge in edges[account].iter().filter(|edge| edge.met_by.overlaps(&subject)) {
            if edge.exporter == importer {
                return Err(ShareError::Cycle);
            }
            let is_narrower = subject.covers(&edge.narrows_to);
            let next = if is_narrower { edge.narrows_to.clone() } else { subject.clone() };
            if seen.insert((edge.exporter, next.clone())) {
                left.push((edge.exporter, next, depth + 1));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filter(text: &str) -> SubjectFilter {
        SubjectFilter::parse(text).unwrap()
    }

    fn graph(accounts: usize) -> Graph {
        let mut graph = Graph::default();
        graph.grow(accounts);
        graph
    }

    #[test]
    fn a_ring_of_accounts_is_a_cycle_and_a_diamond_is_not() {
        let mut graph = graph(4);
        let all = filter(">");
        let mut add = |importer, exporter| {
            let checked = graph.check_service(importer, exporter, &all);
            if checked.is_ok() {
                graph.add_service(importer, exporter, &all, &all);
            }
            checked
        };
        assert_eq!(add(0, 1), Ok(()));
        assert_eq!(add(0, 2), Ok(()));
        assert_eq!(add(1, 3), Ok(()));
        assert_eq!(add(2, 3), Ok(()), "two ways to the same account are no cycle");
        assert_eq!(add(3, 0), Err(ShareError::Cycle));
    }

    #[test]
    fn subjects_that_do_not_overlap_form_no_cycle() {
        let mut graph = graph(2);
        graph.add_stream(0, 1, &filter("a.>"));
        assert_eq!(graph.check_stream(1, 0, &filter("b"), |_, _| true), Ok(()));
        assert_eq!(graph.check_stream(1, 0, &filter("*.b"), |_, _| true), Err(ShareError::Cycle));
        assert_eq!(graph.check_stream(1, 0, &filter("*.b"), |_, _| false), Ok(()));
    }

    #[test]
    fn the_depth_of_the_search_is_bounded() {
        let accounts = IMPORT_DEPTH + 1;
        let mut graph = graph(accounts);
        let all = filter("a");
        for importer in 0..accounts - 1 {
            graph.add_service(importer, importer + 1, &all, &all);
        }
        assert_eq!(graph.check_service(accounts - 1, 0, &all), Err(ShareError::CycleDepth));
        assert_eq!(graph.check_service(accounts - 1, 2, &all), Err(ShareError::Cycle));
    }

    #[test]
    fn a_dense_graph_is_searched_quickly() {
        let accounts = 50;
        let mut graph = graph(accounts);
        let subjects = ["a.>", "*.b", "a.b", ">", "*.*", "a.*"].map(filter);
        for importer in 0..accounts {
            for exporter in importer + 1..accounts {
                for subject in &subjects {
                    assert_eq!(graph.check_service(importer, exporter, subject), Ok(()));
                    graph.add_service(importer, exporter, subject, subject);
                }
            }
        }
        assert_eq!(graph.check_service(49, 0, &filter("a.b")), Err(ShareError::Cycle));
    }
}
