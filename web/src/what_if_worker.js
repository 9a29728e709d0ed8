// The planner beside the page, so that the page never waits: takes {module, request} once and sends
// {done, total} now and then and {answer} or {failure} at the end.
onmessage = async ({ data: { module, request } }) => {
  try {
    let memory;
    const nothing = () => 0;
    const imports = {};
    for (const { module: from, name } of WebAssembly.Module.imports(module)) (imports[from] ??= {})[name] = nothing;
    imports.env.kumihimo_progress = (done, total) => postMessage({ done, total });
    const { exports } = await WebAssembly.instantiate(module, imports);
    memory = exports.memory;
    exports._initialize();
    const text = new TextEncoder().encode(request);
    const place = exports.kumihimo_request(text.length);
    new Uint8Array(memory.buffer).set(text, place);
    const begin = exports.kumihimo_answer();
    const bytes = new Uint8Array(memory.buffer);
    const answer = new TextDecoder().decode(bytes.slice(begin, bytes.indexOf(0, begin)));
    postMessage({ answer: JSON.parse(answer) });
  } catch (error) {
    postMessage({ failure: String(error) });
  }
};
