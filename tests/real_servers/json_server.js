// json-server with the tables of a file: `node tests/real_servers/json_server.js FILE`, where .node has the package.
// Prints its port first; ends when its input is closed.
const jsonServer = require(require.resolve("json-server", { paths: [".node"] }));

const application = jsonServer.create();
application.use(jsonServer.defaults({ logger: false }));
application.use(jsonServer.router(process.argv[2]));
const listening = application.listen(0, "127.0.0.1", () => console.log(listening.address().port));
process.stdin.on("end", () => process.exit()).resume();
