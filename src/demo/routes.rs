//! From a request to the answer that DVID would give.

use super::dataset::{InstanceSpec, Kind, VERSIONS};
use super::http::{Request, Response};
use super::query::Target;
use super::server::Shared;
use super::{bucket, images, info_json, labels, records, refs};

/// A request for one instance at one version.
pub(super) struct Call<'a> {
    pub(super) shared: &'a Shared,
    pub(super) request: &'a Request,
    pub(super) target: &'a Target,
    pub(super) version: usize,
    pub(super) spec: &'a InstanceSpec,
}

/// The right answer to a request.
pub(super) fn answer(shared: &Shared, request: &Request) -> Response {
    if let Some(redirect) = cleaned(request) {
        return redirect;
    }
    let target = Target::new(request);
    let parts: Vec<&str> = target.parts.iter().map(String::as_str).collect();
    if parts == ["api", "heartbeat"] {
        return Response::new(200, "text/plain", "OK");
    }
    if !shared.admits(request) {
        return Response::text(401, "authentication required\n");
    }
    match parts[..] {
        ["api", "server", "info"] => {
            let host = request.header("Host").unwrap_or("localhost");
            Response::json(info_json::server(shared.uptime(), shared.mode(), host))
        }
        ["api", "server", "types" | "compiled-types"] => Response::json("{}"),
        ["api", "repos", "info"] => {
            let dataset = shared.dataset();
            Response::json(format!("{{\"{}\":{}}}", dataset.root(), info_json::repo(&dataset)))
        }
        ["api", "repo", reference, ..] => with_version(reference, &target, |_| repo(shared, &parts[3..])),
        ["api", "node", reference, endpoint] => {
            with_version(reference, &target, |version| about_node(shared, version, endpoint))
        }
        ["api", "node", reference, name, ..] => with_version(reference, &target, |version| {
            let Some(spec) = shared.dataset().instance(name) else { return target.bad("invalid data instance name") };
            Call { shared, request, target: &target, version, spec: &spec }.answer()
        }),
        _ => Response::not_found(),
    }
}

fn with_version(reference: &str, target: &Target, then: impl FnOnce(usize) -> Response) -> Response {
    match refs::resolve(reference) {
        Ok(version) => then(version),
        // Go counts the versions of a branch with a slice, and an index below zero panics.
        Err(words) if words.starts_with("index out of range") => target.panic(&words),
        Err(words) => target.bad(&words),
    }
}

fn repo(shared: &Shared, rest: &[&str]) -> Response {
    match rest {
        ["info"] => Response::json(info_json::repo(&shared.dataset())),
        ["log"] => Response::json("{\"log\":[]}"),
        ["branch-versions", branch] => Response::json(info_json::uuids(&refs::branch_versions(branch))),
        _ => Response::not_found(),
    }
}

fn about_node(shared: &Shared, version: usize, endpoint: &str) -> Response {
    match endpoint {
        "note" => Response::json(format!("{{\"note\":{}}}", info_json::quoted(&info_json::note(version)))),
        "log" => Response::json("{\"log\":[]}"),
        "commit" | "status" => Response::json(format!("{{\"Locked\":{}}}", shared.dataset().is_locked(version))),
        _ => Response::not_found(),
    }
}

impl Call<'_> {
    /// The instance with its edition: what encoded blocks are remembered by.
    pub(super) fn identity(&self) -> String {
        format!("{}|{}", self.spec.name, self.spec.edition)
    }

    fn answer(&self) -> Response {
        let (method, endpoint) = (self.request.method.as_str(), self.target.parts[4].as_str());
        let version = &VERSIONS[self.version];
        if !matches!(method, "GET" | "HEAD") && self.shared.dataset().is_locked(self.version) {
            let words = format!("Cannot do {method} on endpoint \"{endpoint}\" of locked node {}", version.uuid);
            return self.target.bad(&words);
        }
        if method != "GET" && !(method == "HEAD" && self.spec.is_label()) {
            // Nothing is ever written here; an imageblk refuses even HEAD.
            return self.unknown();
        }
        match endpoint {
            "info" => Response::json(info_json::instance(&self.shared.dataset(), self.spec)),
            "help" => Response::new(200, "text/plain", "A pure function.\n"),
            "metadata" if self.spec.dtype().is_some() => {
                Response::new(200, "application/vnd.dvid-nd-data+json", info_json::metadata(self.spec))
            }
            "tags" if matches!(self.spec.kind, Kind::LabelMap(_) | Kind::Other("keyvalue" | "annotation")) => {
                Response::json("{\"Tags\":null}")
            }
            _ => match self.spec.kind {
                Kind::LabelMap(_) | Kind::LabelArray(_) | Kind::LabelBlk => labels::answer(self, endpoint),
                Kind::Image(_) | Kind::Rgba if self.spec.bucket => bucket::answer(self, endpoint),
                Kind::Image(_) | Kind::Rgba => images::answer(self, endpoint),
                Kind::Other(typename) => records::answer(self, typename, endpoint),
            }
            .unwrap_or_else(|refusal| refusal),
        }
    }

    /// DVID's answer to an endpoint that an instance does not have.
    pub(super) fn unknown(&self) -> Response {
        let host = self.request.header("Host").unwrap_or("localhost");
        let (path, name, kind) = (&self.target.path, &self.spec.name, info_json::typename(self.spec.kind));
        let words =
            format!("Bad API call ({path}) for data \"{name}\".  See API help at http://{host}/api/help/{kind}\n");
        Response::text(400, &words)
    }
}

/// An unclean path is redirected to the clean one.
fn cleaned(request: &Request) -> Option<Response> {
    let path = request.target.split('?').next().unwrap_or_default();
    let clean = |part: &&str| !part.is_empty() && *part != "." && *part != "..";
    let parts: Vec<&str> = path.trim_start_matches('/').trim_end_matches('/').split('/').collect();
    if parts.iter().all(clean) || path == "/" {
        return None;
    }
    let mut kept: Vec<&str> = Vec::new();
    for part in parts {
        match part {
            "" | "." => {}
            ".." => drop(kept.pop()),
            part => kept.push(part),
        }
    }
    let location = format!("/{}", kept.join("/"));
    let page = format!("<a href=\"{location}\">Temporary Redirect</a>.\n\n");
    Some(Response::new(307, "text/html; charset=utf-8", page).with("Location", &location))
}

/// Whether such a request costs time on a real server.
pub(super) fn is_for_voxels(target: &str) -> bool {
    ["/raw/", "blocks/", "specificblocks"].iter().any(|endpoint| target.contains(endpoint))
}
