//! How many steps a schema of somebody else's can take: parts that are named more than once
//! multiply, and a few lines can ask for more steps than anybody has time for. Counted without
//! taking them, without recursion. Knows no validator.

use serde_json::Value;
use std::collections::HashMap;

/// Steps that one check may take; a second's work, about.
const STEPS_MAX: u64 = 1 << 24;
/// Subschemas that a schema may have.
const NODES_MAX: usize = 1 << 16;
/// How deep the steps of one check may lie in each other.
const NESTED_MAX: u32 = 512;
/// How deep arguments may be: serde_json reads nothing deeper.
const DEPTH_MAX: usize = 128;

/// The most steps that a schema takes at one place of arguments, by how deep those are.
pub(super) struct Extent(Vec<u64>);

/// A subschema, and those that it applies in its turn.
#[derive(Default)]
struct Node {
    /// To the same value.
    here: Vec<usize>,
    /// To values in it, maybe all to the same.
    below: Vec<usize>,
    /// To values in it, each to another.
    apart: Vec<usize>,
    /// It applies those to the same value once more, to learn what they left.
    again: bool,
}

/// Steps of a node, and how deep they lie in each other.
type Cost = (u64, u32);

impl Extent {
    /// `None` if it cannot be told, or a subschema leads to itself for the same value.
    pub(super) fn of(schema: &Value) -> Option<Self> {
        let nodes = nodes(schema)?;
        let order = inner_first(&nodes)?;
        let mut steps = Vec::new();
        let mut before: Vec<Cost> = vec![(0, 0); nodes.len()];
        for _ in 0..=DEPTH_MAX {
            let mut costs: Vec<Cost> = vec![(0, 0); nodes.len()];
            for at in &order {
                costs[*at] = nodes[*at].cost(&costs, &before);
            }
            let (all, nested) = costs[0];
            steps.push(if nested > NESTED_MAX { u64::MAX } else { all });
            if costs == before {
                break;
            }
            before = costs;
        }
        Some(Self(steps))
    }

    /// Whether checking these arguments is within the bound.
    pub(super) fn allows(&self, arguments: &Value) -> bool {
        let (mut depth, mut count) = (0, 0_u64);
        let mut left = vec![(arguments, 0)];
        while let Some((value, at)) = left.pop() {
            count += 1;
            depth = depth.max(at);
            match value {
                Value::Array(items) => left.extend(items.iter().map(|item| (item, at + 1))),
                Value::Object(fields) => left.extend(fields.values().map(|item| (item, at + 1))),
                _ => {}
            }
        }
        let steps = self.0.get(depth).or(self.0.last());
        steps.is_some_and(|steps| steps.saturating_mul(count) <= STEPS_MAX)
    }
}

impl Node {
    fn cost(&self, same: &[Cost], deeper: &[Cost]) -> Cost {
        let sum = |of: &[usize], costs: &[Cost]| {
            let costs = of.iter().map(|at| costs[*at].0);
            costs.fold(0, u64::saturating_add)
        };
        let here = sum(&self.here, same).saturating_mul(1 + u64::from(self.again));
        let apart = self.apart.iter().map(|at| deeper[*at].0).max();
        let steps = [here, sum(&self.below, deeper), apart.unwrap_or(0)];
        let here = self.here.iter().map(|at| same[*at].1);
        let below = self.below.iter().chain(&self.apart);
        let nested = here.chain(below.map(|at| deeper[*at].1)).max();
        (
            steps.into_iter().fold(1, u64::saturating_add),
            nested.unwrap_or(0).saturating_add(1),
        )
    }
}

/// All subschemas that can be come to, the whole first.
fn nodes(schema: &Value) -> Option<Vec<Node>> {
    let mut found = vec![schema];
    let mut known = HashMap::from([(std::ptr::from_ref(schema), 0)]);
    let mut nodes = Vec::new();
    while let Some(next) = found.get(nodes.len()).copied() {
        let mut node = Node::default();
        for (how, part) in parts(schema, next)? {
            let at = *known.entry(std::ptr::from_ref(part)).or_insert(found.len());
            if at == found.len() {
                found.push(part);
            }
            match how {
                How::Here => node.here.push(at),
                How::Below => node.below.push(at),
                How::Apart => node.apart.push(at),
            }
        }
        let leaves = ["unevaluatedProperties", "unevaluatedItems"];
        node.again = leaves.iter().any(|key| next.get(key).is_some());
        nodes.push(node);
        if found.len() > NODES_MAX {
            return None;
        }
    }
    Some(nodes)
}

/// Where a subschema is applied.
#[derive(Clone, Copy)]
enum How {
    Here,
    Below,
    Apart,
}

/// The subschemas that a schema applies. `None` for a reference that cannot be followed.
fn parts<'s>(whole: &'s Value, schema: &'s Value) -> Option<Vec<(How, &'s Value)>> {
    let Some(fields) = schema.as_object() else {
        return Some(Vec::new());
    };
    let mut parts = Vec::new();
    for (key, value) in fields {
        let how = match key.as_str() {
            "$ref" => {
                let target = value.as_str()?.strip_prefix('#')?;
                parts.push((How::Here, whole.pointer(target)?));
                continue;
            }
            "$dynamicRef" | "$recursiveRef" => return None,
            // What a reference below it means is another matter then.
            "$id" | "id" if value.is_string() && !std::ptr::eq(whole, schema) => return None,
            "allOf" | "anyOf" | "oneOf" | "not" | "if" | "then" | "else" | "dependentSchemas"
            | "dependencies" => How::Here,
            "properties" | "prefixItems" => How::Apart,
            "items" if value.is_array() => How::Apart,
            "items"
            | "additionalItems"
            | "unevaluatedItems"
            | "contains"
            | "propertyNames"
            | "patternProperties"
            | "additionalProperties"
            | "unevaluatedProperties" => How::Below,
            _ => continue,
        };
        let maps = [
            "properties",
            "patternProperties",
            "dependentSchemas",
            "dependencies",
        ];
        match value {
            Value::Array(items) => parts.extend(items.iter().map(|part| (how, part))),
            Value::Object(map) if maps.contains(&key.as_str()) => {
                parts.extend(map.values().map(|part| (how, part)));
            }
            _ => parts.push((how, value)),
        }
    }
    Some(parts)
}

/// The nodes in an order in which each comes behind those that it applies to the same value.
fn inner_first(nodes: &[Node]) -> Option<Vec<usize>> {
    let mut outer = vec![0_usize; nodes.len()];
    for node in nodes {
        for at in &node.here {
            outer[*at] += 1;
        }
    }
    let mut order: Vec<usize> = (0..nodes.len()).filter(|at| outer[*at] == 0).collect();
    let mut next = 0;
    while let Some(at) = order.get(next).copied() {
        next += 1;
        for inner in &nodes[at].here {
            outer[*inner] -= 1;
            if outer[*inner] == 0 {
                order.push(*inner);
            }
        }
    }
    order.reverse();
    (order.len() == nodes.len()).then_some(order)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use serde_json::json;

    /// A schema that names the next of its parts twice, as often as it is deep.
    pub(in crate::guest::tools) fn doubling(depth: usize, last: &Value) -> Value {
        let mut parts = serde_json::Map::new();
        for at in 0..depth {
            let next = json!({"$ref": format!("#/$defs/d{}", at + 1)});
            parts.insert(format!("d{at}"), json!({"allOf": [next, next]}));
        }
        parts.insert(format!("d{depth}"), last.clone());
        json!({"$defs": parts, "$ref": "#/$defs/d0"})
    }

    fn allows(schema: &Value, arguments: &Value) -> bool {
        Extent::of(schema).is_some_and(|extent| extent.allows(arguments))
    }

    #[test]
    fn what_doubles_is_counted_and_not_taken() {
        assert!(allows(&doubling(10, &json!({})), &json!({})));
        assert!(!allows(&doubling(24, &json!({})), &json!({})));
        assert!(!allows(&doubling(5_000, &json!({})), &json!({})));
    }

    #[test]
    fn a_tree_is_checked_and_one_that_doubles_at_each_depth_is_not() {
        let node = json!({"$ref": "#/$defs/node"});
        let tree = json!({"$ref": "#/$defs/node", "$defs": {"node": {
            "properties": {"left": node, "right": node}, "additionalProperties": false}}});
        let twice = json!({"$ref": "#/$defs/node", "$defs": {"node": {
            "properties": {"next": {"allOf": [node, node]}}}}});
        let mut deep = json!({});
        for _ in 0..60 {
            deep = json!({"left": deep, "next": 0});
        }
        assert!(allows(&tree, &deep));
        assert!(allows(&twice, &json!({"next": {"next": {}}})));
        assert!(!allows(&twice, &deep));
    }

    #[test]
    fn wide_arguments_take_a_step_each() {
        let schema = json!({"properties": {"all": {"items": {"type": "string", "minLength": 1}}}});
        assert!(allows(&schema, &json!({"all": vec!["x"; 100_000]})));
        let dear =
            json!({"items": doubling(12, &json!({})), "$defs": doubling(12, &json!({}))["$defs"]});
        assert!(!allows(&dear, &json!(vec!["x"; 100_000])));
    }

    #[test]
    fn what_cannot_be_followed_is_not_counted() {
        for schema in [
            json!({"$ref": "#"}),
            json!({"allOf": [{"$ref": "#/$defs/a"}], "$defs": {"a": {"$ref": "#/$defs/a"}}}),
            json!({"$ref": "#/$defs/none"}),
            json!({"$ref": "https://a.example/schema"}),
            json!({"$dynamicRef": "#node"}),
            json!({"properties": {"a": {"$id": "https://a.example/", "$ref": "#/b"}}}),
        ] {
            assert!(Extent::of(&schema).is_none(), "{schema}");
        }
        // Names of properties are no words of a schema.
        let names = json!({"properties": {"$ref": {"type": "string"}, "$id": {}, "id": {}}});
        assert!(Extent::of(&names).is_some());
    }

    #[test]
    fn a_long_chain_is_too_deep_for_a_stack() {
        let mut parts = serde_json::Map::new();
        for at in 0..2_000 {
            parts.insert(
                format!("d{at}"),
                json!({"$ref": format!("#/$defs/d{}", at + 1)}),
            );
        }
        parts.insert("d2000".to_owned(), json!({}));
        let chain = json!({"$defs": parts, "$ref": "#/$defs/d0"});
        assert!(!allows(&chain, &json!({})));
    }
}
