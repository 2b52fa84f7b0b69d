//! What a running database holds, read from it key by key, as a state of the [model](crate::model).

use crate::model::{Content, Group, Id, Item, NEVER, Pending, Stream, StreamKey, World};
use sessile::{Access, Db, Error, Kind, StreamId, StreamView};
use std::ops::ControlFlow;
use std::rc::Rc;

/// Everything that is alive.
///
/// # Errors
/// What the database says; a value that contradicts itself is a violation, and panics.
pub fn read(db: &Db) -> Result<World, Error> {
    let mut world = World::default();
    for number in 0..sessile::DATABASES {
        let mut cursor = 0;
        loop {
            let mut keys = Vec::new();
            cursor = db.scan(number, cursor, 128, &mut |key, _| keys.push(key.to_vec()))?;
            for key in keys {
                let id = (number, key);
                let Some(item) = look(db, &id)? else { panic!("a scan shows {id:?}, which is not there") };
                assert!(
                    world.keys.insert(id, Rc::new(item)).is_none(),
                    "a scan of what does not change shows a key twice"
                );
            }
            if cursor == 0 {
                break;
            }
        }
    }
    Ok(world)
}

/// One key, if it is alive.
///
/// # Errors
/// What the database says of it.
pub fn look(db: &Db, id: &Id) -> Result<Option<Item>, Error> {
    let key = db.key(id.0, &id.1);
    let txn = db.begin(&[key], Access::Read, db.now_ms())?;
    let Some(kind) = txn.kind(&key) else { return Ok(None) };
    const KIND: &str = "it is of this kind, and there: asked under the same lock";
    let content = match kind {
        Kind::String => Content::String(txn.string(&key).expect(KIND).expect(KIND).to_vec()),
        Kind::Hash => {
            let mut fields = crate::model::Fields::new();
            txn.hash_for_each_field(&key, &mut |field| {
                let value = (field.value.to_vec(), field.deadline_ms.unwrap_or(NEVER));
                assert!(fields.insert(field.name.to_vec(), value).is_none(), "a field is there twice");
            })
            .expect(KIND);
            assert_eq!(txn.hash_len(&key).expect(KIND), fields.len(), "the length of a hash");
            Content::Hash(fields)
        }
        Kind::Set => {
            let members = txn.set_members(&key).expect(KIND).expect(KIND);
            let all: std::collections::BTreeSet<_> = members.iter().map(<[u8]>::to_vec).collect();
            assert_eq!(members.len(), all.len(), "the length of a set");
            Content::Set(all)
        }
        Kind::List => {
            let mut elements = std::collections::VecDeque::new();
            txn.list_range(&key, 0, usize::MAX, &mut |element| elements.push_back(element.to_vec()))
                .expect(KIND);
            assert_eq!(txn.list_len(&key).expect(KIND), elements.len(), "the length of a list");
            Content::List(elements)
        }
        Kind::SortedSet => {
            let all = txn.sorted_set(&key).expect(KIND).expect(KIND);
            let mut members = std::collections::BTreeMap::new();
            all.for_each(0..usize::MAX, false, &mut |member, score| {
                members.insert(member.to_vec(), score as i64);
            });
            assert_eq!(all.len(), members.len(), "the length of a sorted set");
            Content::SortedSet(members)
        }
        Kind::Stream => Content::Stream(stream(&txn.stream(&key).expect(KIND).expect(KIND))),
        Kind::Chat => panic!("no client makes a chat here: the engine's own simulation has them"),
    };
    Ok(Some(Item { content, deadline_ms: txn.deadline(&key).flatten().unwrap_or(NEVER) }))
}

fn stream(view: &StreamView<'_>) -> Stream {
    let key = |id: StreamId| -> StreamKey { (id.ms, id.seq) };
    let state = view.state();
    let mut stream = Stream {
        last_id: key(state.last_id),
        added: state.entries_added,
        deleted_id: key(state.max_deleted_id),
        ..Stream::default()
    };
    view.visit(StreamId::MIN..=StreamId::MAX, false, &mut |entry| {
        stream.entries.insert(key(entry.id), entry.fields().map(<[u8]>::to_vec).collect());
        ControlFlow::Continue(())
    });
    assert_eq!(view.len(), stream.entries.len(), "the length of a stream");
    for (name, group) in view.groups() {
        let pending = group.pending_from(StreamId::MIN, None).map(|pending| {
            let of = Pending {
                consumer: pending.consumer.to_vec(),
                delivered_ms: pending.delivered_ms,
                count: pending.count,
            };
            (key(pending.id), of)
        });
        let group = Group {
            last_id: key(group.last_id()),
            consumers: group.consumers().map(|consumer| consumer.name.to_vec()).collect(),
            pending: pending.collect(),
        };
        stream.groups.insert(name.to_vec(), group);
    }
    stream
}
