//! The keys `resource` and `resource_name` of a route (RFC 9728).

use crate::config::read::Table;
use crate::config::routes::Names;
use crate::oauth::protected_resource::ProtectedResource;
use crate::policy::{Access, TokenRule};
use crate::url::PathPattern;

/// Reads the resource that a route belongs to: adds it to `resources`, or what the route asks
/// for to it, and returns its index.
pub(super) fn read(
    table: &Table<'_, '_>,
    access: Option<&Access>,
    names: &Names<'_>,
    resources: &mut Vec<ProtectedResource>,
) -> Option<usize> {
    let text = table.non_empty("resource", "a URL on public_url");
    let name = table.non_empty("resource_name", "a name for people");
    let rule = match access {
        Some(Access::Token(rule)) => rule,
        Some(_) => {
            for name in ["resource", "resource_name"] {
                if table.get(name).is_some() {
                    table.problem(name, "only routes with access = \"token\" have this");
                }
            }
            return None;
        }
        None => return None,
    };
    if text.is_none() && name.is_some() && table.get("resource").is_none() {
        table.problem("resource_name", "needs a resource");
    }
    let (text, origin) = (text?, names.public_url?.as_str());
    // One form for each resource: clients compare it by its text.
    let path = text.strip_prefix(origin).filter(|path| {
        let pattern = path.parse::<PathPattern>();
        path.is_empty()
            || pattern.is_ok_and(|pattern| !pattern.prefix) && *path != "/" && !path.ends_with('/')
    });
    let Some(path) = path else {
        table.problem(
            "resource",
            format_args!("expected {origin}, or {origin}/<path> without a slash at its end"),
        );
        return None;
    };
    let index = match resources.iter().position(|known| known.path == path) {
        Some(index) => index,
        None => {
            resources.push(ProtectedResource {
                origin: origin.to_owned(),
                path: path.to_owned(),
                name: None,
                authorization_servers: Vec::new(),
                scopes: Vec::new(),
            });
            resources.len() - 1
        }
    };
    let resource = resources.get_mut(index)?;
    if let Some(name) = name {
        if resource.name.as_ref().is_some_and(|known| *known != name) {
            table.problem(
                "resource_name",
                "another route of the resource says otherwise",
            );
        }
        resource.name = Some(name);
    }
    extend(resource, rule, names);
    Some(index)
}

fn extend(resource: &mut ProtectedResource, rule: &TokenRule, names: &Names<'_>) {
    let issuer = names.issuer_urls.get(rule.issuer).copied();
    add(&mut resource.authorization_servers, issuer);
    let scopes = rule.scopes.iter().chain(&rule.any_scopes);
    add(&mut resource.scopes, scopes.map(String::as_str));
}

fn add<'s>(list: &mut Vec<String>, more: impl IntoIterator<Item = &'s str>) {
    for entry in more {
        if !list.iter().any(|known| known == entry) {
            list.push(entry.to_owned());
        }
    }
}
