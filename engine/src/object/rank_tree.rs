//! The order of a large sorted set: a B+tree whose leaves are sorted [runs](super::sorted_run) and whose nodes count what is below them.
//!
//! ```text
//! node:  (least key │ child │ members below) …    up to 64 children
//! leaf:  a run of up to 64 members and 2 KiB      (a longer member has a leaf of its own)
//! ```
//!
//! Finding a place, a rank, or what has a rank costs one descent. A child's least key is a lower bound of what is in it and above all that is left
//! of it; it is cut as short as that allows, and holds when members leave. Leaves have numbers, by which the table of members refers to them: whoever
//! changes the tree is told of every member that moves to another leaf. A leaf that has run low is merged with its neighbour if both fit well into
//! one; nodes likewise. There may be emptier ones: the depth is bounded by how large the set once was.

use super::sorted_run::{self, Scored};
use crate::limits::{LEAF_BYTES_MAX, LEAF_MEMBERS_MAX, NODE_CHILDREN_MAX};
use smallvec::SmallVec;
use std::cmp::Ordering;
use std::ops::Range;

/// A leaf grows by this many bytes at least.
const GROWTH_BYTES: usize = 256;

/// See the module's page.
#[derive(Clone)]
pub(crate) struct RankTree {
    leaves: Arena<Leaf>,
    nodes: Arena<Node>,
    root: u32,
    /// Levels of nodes, at least one.
    height: usize,
    len: usize,
    /// Bytes of the runs.
    bytes: usize,
}

#[derive(Clone, Default)]
struct Leaf {
    run: Vec<u8>,
    len: u32,
}

#[derive(Clone, Default)]
struct Node {
    children: Vec<Child>,
}

#[derive(Clone)]
struct Child {
    score: f64,
    member: Box<[u8]>,
    /// Of a node, or of a leaf in the lowest nodes.
    id: u32,
    /// Members below it. A flat object is shorter than 4 GiB, so there are fewer.
    count: u32,
}

/// Where a member moves: from a leaf (none if it is new) to a leaf.
pub(crate) type Moved<'a> = dyn FnMut(&[u8], Option<u32>, u32) + 'a;

/// The nodes from the root down to a leaf, and which child of each.
type Path = SmallVec<[(u32, usize); 6]>;

/// Things with numbers; free numbers are used again.
#[derive(Clone)]
struct Arena<T> {
    slots: Vec<T>,
    free: Vec<u32>,
}

impl<T: Default> Arena<T> {
    fn add(&mut self, thing: T) -> u32 {
        match self.free.pop() {
            Some(id) => {
                self.slots[id as usize] = thing;
                id
            }
            None => {
                self.slots.push(thing);
                (self.slots.len() - 1) as u32
            }
        }
    }

    fn remove(&mut self, id: u32) -> T {
        self.free.push(id);
        std::mem::take(&mut self.slots[id as usize])
    }

    fn get(&self, id: u32) -> &T {
        &self.slots[id as usize]
    }

    fn get_mut(&mut self, id: u32) -> &mut T {
        &mut self.slots[id as usize]
    }
}

impl Leaf {
    fn is_over(&self) -> bool {
        self.len > 1 && (self.len as usize > LEAF_MEMBERS_MAX || self.run.len() > LEAF_BYTES_MAX)
    }

    fn is_low(&self) -> bool {
        (self.len as usize) < LEAF_MEMBERS_MAX / 4 && self.run.len() < LEAF_BYTES_MAX / 4
    }

    /// Whether both fit into one, with room for more.
    fn fits_with(&self, other: &Leaf) -> bool {
        ((self.len + other.len) as usize) <= LEAF_MEMBERS_MAX * 3 / 4
            && self.run.len() + other.run.len() <= LEAF_BYTES_MAX * 3 / 4
    }

    fn reserve(&mut self, bytes: usize) {
        if self.run.capacity() - self.run.len() < bytes {
            self.run.reserve_exact(bytes.max(GROWTH_BYTES));
        }
    }

    fn shrink(&mut self) {
        if self.run.capacity() - self.run.len() > 2 * GROWTH_BYTES {
            self.run.shrink_to(self.run.len() + GROWTH_BYTES);
        }
    }

    /// Where to split it: how many members stay, and their bytes. Neither part is empty.
    fn middle(&self) -> (usize, usize) {
        let half = self.run.len() / 2;
        let mut bytes = 0;
        let (members, at) = sorted_run::cut(&self.run, &mut |(_, member)| {
            let fits = bytes <= half;
            bytes += size_of::<f64>() + member.len() + 1;
            fits
        });
        let most = self.len as usize - 1;
        if members <= most {
            return (members, at);
        }
        (most, sorted_run::bytes_of(&self.run, 0..most).end)
    }
}

impl Node {
    /// The child in which `before` comes to an end.
    fn child_of(&self, before: &mut dyn FnMut(Scored<'_>) -> bool) -> usize {
        self.children[1..].partition_point(|child| before((child.score, &child.member)))
    }

    fn count(&self) -> u32 {
        self.children.iter().map(|child| child.count).sum()
    }
}

/// The shortest key that is above the last of `left` and not above the first of `right`.
fn least_key(left: &[u8], right: &[u8]) -> (f64, Box<[u8]>) {
    let last = sorted_run::iter(left).last().unwrap_or((f64::NEG_INFINITY, &[]));
    let first = sorted_run::iter(right).next().unwrap_or((f64::INFINITY, &[]));
    if last.0 < first.0 {
        return (first.0, Box::default());
    }
    let alike = last.1.iter().zip(first.1).take_while(|(a, b)| a == b).count();
    (first.0, first.1[..first.1.len().min(alike + 1)].into())
}

impl RankTree {
    pub(crate) fn new() -> RankTree {
        let leaf = Child { score: f64::NEG_INFINITY, member: Box::default(), id: 0, count: 0 };
        RankTree {
            leaves: Arena { slots: vec![Leaf::default()], free: Vec::new() },
            nodes: Arena { slots: vec![Node { children: vec![leaf] }], free: Vec::new() },
            root: 0,
            height: 1,
            len: 0,
            bytes: 0,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Bytes of all runs.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// A member of a leaf.
    pub(crate) fn find(&self, leaf: u32, member: &[u8]) -> Option<f64> {
        Some(sorted_run::find(&self.leaves.get(leaf).run, member)?.score)
    }

    /// The members of a leaf.
    pub(crate) fn leaf(&self, leaf: u32) -> impl Iterator<Item = Scored<'_>> {
        sorted_run::iter(&self.leaves.get(leaf).run)
    }

    /// The leaf in which `before` comes to an end, how to get there, and how many members are left of it.
    fn descend(&self, before: &mut dyn FnMut(Scored<'_>) -> bool) -> (Path, u32, usize) {
        let (mut path, mut id, mut rank) = (Path::new(), self.root, 0);
        for _ in 0..self.height {
            let node = self.nodes.get(id);
            let at = node.child_of(before);
            rank += node.children[..at].iter().map(|child| child.count as usize).sum::<usize>();
            path.push((id, at));
            id = node.children[at].id;
        }
        (path, id, rank)
    }

    /// As [`descend`](Self::descend), to the member of this rank; how many of its leaf are left of it.
    fn descend_to(&self, rank: usize) -> (Path, u32, usize) {
        let (mut path, mut id, mut left) = (Path::new(), self.root, rank);
        for _ in 0..self.height {
            let children = &self.nodes.get(id).children;
            let mut at = 0;
            while at + 1 < children.len() && left >= children[at].count as usize {
                left -= children[at].count as usize;
                at += 1;
            }
            path.push((id, at));
            id = children[at].id;
        }
        (path, id, left)
    }

    /// How many members `before` holds for, which are the first ones.
    pub(crate) fn rank(&self, before: &mut dyn FnMut(Scored<'_>) -> bool) -> usize {
        let (_, leaf, rank) = self.descend(before);
        rank + sorted_run::cut(&self.leaves.get(leaf).run, before).0
    }

    /// Calls `each` for the members with these ranks, in order, or in reverse.
    pub(crate) fn for_each(&self, ranks: Range<usize>, reverse: bool, each: &mut dyn FnMut(&[u8], f64)) {
        self.for_each_below(self.root, self.height, ranks, reverse, each);
    }

    fn for_each_below(
        &self,
        id: u32,
        height: usize,
        ranks: Range<usize>,
        reverse: bool,
        each: &mut dyn FnMut(&[u8], f64),
    ) {
        if height == 0 {
            let Leaf { run, len } = self.leaves.get(id);
            let ranks = ranks.start..ranks.end.min(*len as usize);
            if reverse {
                sorted_run::for_each_back(run, ranks, each);
            } else {
                sorted_run::iter(run)
                    .take(ranks.end)
                    .skip(ranks.start)
                    .for_each(|(score, member)| each(member, score));
            }
            return;
        }
        let children = &self.nodes.get(id).children;
        let mut visit = |child: &Child, first: usize| {
            let (start, end) = (ranks.start.max(first), ranks.end.min(first + child.count as usize));
            if start < end {
                self.for_each_below(child.id, height - 1, start - first..end - first, reverse, each);
            }
        };
        if reverse {
            let mut first = self.nodes.get(id).count() as usize;
            for child in children.iter().rev() {
                first -= child.count as usize;
                visit(child, first);
                if first <= ranks.start {
                    break;
                }
            }
        } else {
            let mut first = 0;
            for child in children {
                if first >= ranks.end {
                    break;
                }
                visit(child, first);
                first += child.count as usize;
            }
        }
    }

    /// Puts in a member that is not there.
    pub(crate) fn insert(&mut self, score: f64, member: &[u8], moved: &mut Moved<'_>) {
        let (path, id, _) =
            self.descend(&mut |other| sorted_run::compare(other, (score, member)) != Ordering::Greater);
        moved(member, None, id);
        let leaf = self.leaves.get_mut(id);
        let before = leaf.run.len();
        leaf.reserve(member.len() + 18);
        let (index, at) = sorted_run::cut(&leaf.run, &mut |other| {
            sorted_run::compare(other, (score, member)) == Ordering::Less
        });
        sorted_run::insert_at(&mut leaf.run, at, score, member);
        leaf.len += 1;
        let (grown, at_end, over) = (leaf.run.len() - before, index + 1 == leaf.len as usize, leaf.is_over());
        self.bytes += grown;
        self.len += 1;
        for &(node, at) in &path {
            self.nodes.get_mut(node).children[at].count += 1;
        }
        if over {
            let is_last = |&(node, at): &(u32, usize)| at + 1 == self.nodes.get(node).children.len();
            // A set that grows at its end, by ever later times, leaves full leaves behind.
            let keep = if at_end && path.iter().all(is_last) {
                let leaf = self.leaves.get(id);
                (leaf.len as usize - 1, leaf.run.len() - grown)
            } else {
                self.leaves.get(id).middle()
            };
            self.split_leaf(path, id, keep, moved);
        }
    }

    /// Moves all but the first so many members and bytes of a leaf into a new one behind it.
    fn split_leaf(
        &mut self,
        mut path: Path,
        id: u32,
        (members, bytes): (usize, usize),
        moved: &mut Moved<'_>,
    ) {
        let leaf = self.leaves.get_mut(id);
        let right = Leaf { run: leaf.run[bytes..].to_vec(), len: leaf.len - members as u32 };
        leaf.run.truncate(bytes);
        leaf.len = members as u32;
        leaf.shrink();
        let ((score, member), count) = (least_key(&leaf.run, &right.run), right.len);
        let mut new = Child { score, member, id: self.leaves.add(right), count };
        sorted_run::iter(&self.leaves.get(new.id).run).for_each(|(_, name)| moved(name, Some(id), new.id));
        while let Some((node_id, at)) = path.pop() {
            let node = self.nodes.get_mut(node_id);
            node.children[at].count -= new.count;
            node.children.insert(at + 1, new);
            if node.children.len() <= NODE_CHILDREN_MAX {
                return;
            }
            let upper = node.children.split_off(NODE_CHILDREN_MAX / 2);
            // The least key of its first child is that of the node.
            let (score, member) = (upper[0].score, upper[0].member.clone());
            let right = Node { children: upper };
            let count = right.count();
            new = Child { score, member, id: self.nodes.add(right), count };
            if path.is_empty() {
                let count = self.nodes.get(node_id).count();
                let old = Child { score: f64::NEG_INFINITY, member: Box::default(), id: node_id, count };
                self.root = self.nodes.add(Node { children: vec![old, new] });
                self.height += 1;
                return;
            }
        }
    }

    /// Takes out the member with this key, which is there.
    pub(crate) fn remove(&mut self, score: f64, member: &[u8], moved: &mut Moved<'_>) {
        let (path, id, _) =
            self.descend(&mut |other| sorted_run::compare(other, (score, member)) != Ordering::Greater);
        if let Some(found) = sorted_run::find(&self.leaves.get(id).run, member) {
            self.remove_from(path, id, found.index..found.index + 1, &mut |_, _, _| {}, moved);
        }
    }

    /// Takes out the members with these ranks, and calls `each` for each with its leaf first.
    pub(crate) fn remove_ranks(
        &mut self,
        ranks: Range<usize>,
        each: &mut dyn FnMut(&[u8], u32),
        moved: &mut Moved<'_>,
    ) {
        let mut left = ranks.end.min(self.len).saturating_sub(ranks.start);
        while left > 0 {
            let (path, id, index) = self.descend_to(ranks.start);
            let count = left.min(self.leaves.get(id).len as usize - index);
            self.remove_from(path, id, index..index + count, &mut |name, _, leaf| each(name, leaf), moved);
            left -= count;
        }
    }

    fn remove_from(
        &mut self,
        mut path: Path,
        id: u32,
        indices: Range<usize>,
        each: &mut dyn FnMut(&[u8], f64, u32),
        moved: &mut Moved<'_>,
    ) {
        let count = indices.len() as u32;
        let leaf = self.leaves.get_mut(id);
        let bytes = sorted_run::bytes_of(&leaf.run, indices);
        sorted_run::iter(&leaf.run[bytes.clone()]).for_each(|(score, name)| each(name, score, id));
        self.bytes -= bytes.len();
        self.len -= count as usize;
        leaf.run.drain(bytes);
        leaf.len -= count;
        leaf.shrink();
        let (empty, low) = (leaf.len == 0, leaf.is_low());
        for &(node, at) in &path {
            self.nodes.get_mut(node).children[at].count -= count;
        }
        if empty {
            self.remove_empty(&mut path);
        } else if low && let Some(&(node, at)) = path.last() {
            self.merge_leaves(node, at, moved);
        }
        while let Some((node, _)) = path.pop()
            && self.nodes.get(node).children.len() < NODE_CHILDREN_MAX / 4
            && let Some(&(parent, at)) = path.last()
        {
            self.merge_nodes(parent, at);
        }
        while self.height > 1
            && let [only] = &self.nodes.get(self.root).children[..]
        {
            let child = only.id;
            self.nodes.remove(self.root);
            self.root = child;
            self.height -= 1;
        }
    }

    /// Removes the leaf that the path leads to, and every node that has no other child. The path ends at the lowest node that stays.
    fn remove_empty(&mut self, path: &mut Path) {
        if self.len == 0 {
            // One empty leaf is what an empty tree has.
            *self = RankTree::new();
            path.clear();
            return;
        }
        let mut below = None;
        while let Some(&(node_id, at)) = path.last() {
            let children = &mut self.nodes.get_mut(node_id).children;
            let child = children.remove(at).id;
            let is_empty = children.is_empty();
            match below {
                None => drop(self.leaves.remove(child)),
                Some(()) => drop(self.nodes.remove(child)),
            }
            below = Some(());
            if !is_empty {
                return;
            }
            path.pop();
        }
    }

    /// Merges a child that has run low, a leaf, with a neighbour if they fit.
    fn merge_leaves(&mut self, node: u32, at: usize, moved: &mut Moved<'_>) {
        let children = &self.nodes.get(node).children;
        let fits = |left: usize| {
            let (Some(left), Some(right)) = (children.get(left), children.get(left + 1)) else {
                return false;
            };
            self.leaves.get(left.id).fits_with(self.leaves.get(right.id))
        };
        let left = match at {
            _ if fits(at) => at,
            1.. if fits(at - 1) => at - 1,
            _ => return,
        };
        let (left_id, right_id) = (children[left].id, children[left + 1].id);
        // The smaller one moves.
        let (from, to) = if self.leaves.get(left_id).len < self.leaves.get(right_id).len {
            (left_id, right_id)
        } else {
            (right_id, left_id)
        };
        let gone = self.leaves.remove(from);
        let kept = self.leaves.get_mut(to);
        if from == right_id {
            kept.run.extend_from_slice(&gone.run);
        } else {
            kept.run.splice(0..0, gone.run.iter().copied());
        }
        kept.len += gone.len;
        sorted_run::iter(&gone.run).for_each(|(_, name)| moved(name, Some(from), to));
        let children = &mut self.nodes.get_mut(node).children;
        let right = children.remove(left + 1);
        children[left].id = to;
        children[left].count += right.count;
    }

    /// Merges a child that has run low, a node, with a neighbour if they fit.
    fn merge_nodes(&mut self, parent: u32, at: usize) {
        let children = &self.nodes.get(parent).children;
        let fits = |left: usize| {
            let (Some(left), Some(right)) = (children.get(left), children.get(left + 1)) else {
                return false;
            };
            self.nodes.get(left.id).children.len() + self.nodes.get(right.id).children.len()
                <= NODE_CHILDREN_MAX * 3 / 4
        };
        let left = match at {
            _ if fits(at) => at,
            1.. if fits(at - 1) => at - 1,
            _ => return,
        };
        let children = &mut self.nodes.get_mut(parent).children;
        let right = children.remove(left + 1);
        children[left].count += right.count;
        let left_id = children[left].id;
        let mut gone = self.nodes.remove(right.id).children;
        if let Some(first) = gone.first_mut() {
            (first.score, first.member) = (right.score, right.member);
        }
        self.nodes.get_mut(left_id).children.append(&mut gone);
    }
}

#[cfg(test)]
impl RankTree {
    pub(super) fn leaf_count(&self) -> usize {
        self.leaves.slots.len() - self.leaves.free.len()
    }

    /// Panics if it is not what its page says.
    pub(super) fn check(&self) {
        let (mut leaves, mut nodes, mut bytes) = (0, 0, 0);
        let counted = self.check_below(self.root, self.height, &mut |leaf| match leaf {
            Some(leaf) => {
                leaves += 1;
                bytes += leaf.run.len();
            }
            None => nodes += 1,
        });
        assert_eq!((counted, bytes), (self.len, self.bytes));
        assert_eq!(leaves + self.leaves.free.len(), self.leaves.slots.len(), "leaves got lost");
        assert_eq!(nodes + self.nodes.free.len(), self.nodes.slots.len(), "nodes got lost");
    }

    fn check_below(&self, id: u32, height: usize, visit: &mut dyn FnMut(Option<&Leaf>)) -> usize {
        if height == 0 {
            let leaf = self.leaves.get(id);
            assert_eq!(sorted_run::check(&leaf.run), Some(leaf.len as usize));
            assert!(sorted_run::is_sorted(&leaf.run));
            assert!(leaf.len > 0 || self.len == 0, "an empty leaf");
            assert!((leaf.len as usize) <= LEAF_MEMBERS_MAX);
            visit(Some(leaf));
            return leaf.len as usize;
        }
        visit(None);
        let children = &self.nodes.get(id).children;
        assert!((1..=NODE_CHILDREN_MAX).contains(&children.len()));
        let mut sum = 0;
        for (at, child) in children.iter().enumerate() {
            let count = self.check_below(child.id, height - 1, visit);
            assert_eq!(count, child.count as usize);
            sum += count;
            if at > 0 {
                let key = (child.score, &child.member[..]);
                let first = |id| self.end(id, height - 1, false);
                let last = self.end(children[at - 1].id, height - 1, true);
                assert!(
                    first(child.id).is_none_or(|first| sorted_run::compare(key, first) != Ordering::Greater)
                );
                assert!(last.is_none_or(|last| sorted_run::compare(last, key) == Ordering::Less));
            }
        }
        sum
    }

    /// The first or the last below.
    fn end(&self, id: u32, height: usize, last: bool) -> Option<Scored<'_>> {
        if height == 0 {
            let mut run = sorted_run::iter(&self.leaves.get(id).run);
            return if last { run.last() } else { run.next() };
        }
        let children = &self.nodes.get(id).children;
        let child = if last { children.last() } else { children.first() };
        self.end(child?.id, height - 1, last)
    }
}
