"""Hostile programs in C++, Java, JavaScript, Bash and Rust: for each attack a few lines of each language, put into its frame.

All of a language are compiled as one: what to do (ATTACK) and to what (TARGET and so on) is in the environment. The last line is
"won", or "lost" and the error. JavaScript's attacks say it by themselves: `done()`.
"""

FRAMES = {
    "cpp": r"""
#include <arpa/inet.h>
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/un.h>
#include <unistd.h>
using namespace std;
string given(const char* name) { const char* value = getenv(name); return value ? value : ""; }
void check(bool well) { if (!well) { printf("lost %s\n", strerror(errno)); exit(0); } }
template <class A> void call(int family, int kind, A address) {
    int fd = socket(family, kind, 0);
    check(fd >= 0);
    check(!connect(fd, (sockaddr*)&address, sizeof address));
    check(write(fd, "x", 1) == 1);
}
sockaddr_in local(int port) { return {AF_INET, htons(port), {htonl(INADDR_LOOPBACK)}}; }
int main() {
    const char* target = getenv("TARGET");
    BODY
    puts("won");
}
""",
    "java": r"""
import java.io.*;
import java.net.*;
import java.nio.channels.*;
import java.nio.file.*;
import java.util.*;
public class Problem {
    static String given(String name) { return System.getenv().getOrDefault(name, ""); }
    static int number(String name) { return Integer.parseInt(given(name)); }
    static void shell(String command) throws Exception {
        Process shell = new ProcessBuilder("bash", "-c", command).redirectErrorStream(true).start();
        String said = new String(shell.getInputStream().readAllBytes());
        if (shell.waitFor() != 0) throw new IOException(said);
    }
    static void sleep(double seconds) { try { Thread.sleep((long) (1000 * seconds)); } catch (InterruptedException e) {} }
    public static void main(String[] arguments) {
        String target = given("TARGET");
        boolean on = true;
        try {
            BODY
            System.out.println("won");
        } catch (Throwable error) { System.out.println("lost " + error); System.exit(0); }
    }
}
""",
    "js": r"""
const { spawn } = require("child_process"), fs = require("fs"), net = require("net"), dgram = require("dgram");
const { TARGET: target, SIGNAL: signal, STREAM: stream, PAUSE: pause, FILES: files, MIB: mib } = process.env;
const done = error => { console.log(error ? "lost " + error : "won"); process.exit(); };
process.on("uncaughtException", done);
BODY
""",
    "sh": r"""
exec 8>&1 9>&2
if said=$( { case $ATTACK in
BODY
esac; } 2>&1 ); then echo "$said"; echo won; else echo lost $said; fi
""",
    "rs": r"""
#![allow(warnings)]
use std::{env, fs, io::{self, Read, Write}, net::*, os::unix::{fs::symlink, net::*, process::CommandExt}, process::*, thread};
extern "C" {
    fn kill(pid: i32, signal: i32) -> i32;
    fn fork() -> i32;
    fn setsid() -> i32;
    fn signal(signal: i32, handler: usize) -> usize;
}
fn given(name: &str) -> String { env::var(name).unwrap_or_default() }
fn number(name: &str) -> i32 { given(name).parse().unwrap() }
fn check(result: i32) -> io::Result<i32> { if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) } }
fn sleep(seconds: f64) { thread::sleep(std::time::Duration::from_secs_f64(seconds)) }
fn attempt(target: &str) -> io::Result<()> {
    BODY
    Ok(())
}
fn main() {
    match attempt(&given("TARGET")) { Ok(_) => println!("won"), Err(error) => println!("lost {error}") }
}
""",
}
CHOICES = {
    "cpp": 'if (given("ATTACK") == "NAME") { BODY }',
    "java": 'if (given("ATTACK").equals("NAME")) { BODY }',
    "js": 'if (process.env.ATTACK === "NAME") { BODY }',
    "sh": '("NAME") BODY ;;',
    "rs": 'if given("ATTACK") == "NAME" { BODY }',
}
OWN_FILE = {"cpp": "main", "java": "Problem.class", "js": "main.js", "sh": "main.sh", "rs": "main"}
"""What lies in the directory of a program that runs."""

ATTACKS = {
    # what must not succeed
    "read": {
        "cpp": 'FILE* f = fopen(target, "r"); check(f); char text[100]{}; check(fread(text, 1, 99, f) > 0); puts(text);',
        "java": "System.out.println(new String(new FileInputStream(target).readNBytes(99)));",
        "js": "console.log(String(fs.readFileSync(target)).slice(0, 99)); done();",
        "sh": 'head -c 99 -- "$TARGET"',
        "rs": "let mut text = vec![]; fs::File::open(target)?.take(99).read_to_end(&mut text)?; "
        'println!("{}", String::from_utf8_lossy(&text));',
    },
    "read over a link": {
        "cpp": 'check(!symlink(target, "link")); FILE* f = fopen("link", "r"); check(f); char text[100]{}; '
        "check(fread(text, 1, 99, f) > 0); puts(text);",
        "java": 'Path link = Files.createSymbolicLink(Path.of("link"), Path.of(target)); '
        "System.out.println(new String(Files.newInputStream(link).readNBytes(99)));",
        "js": 'fs.symlinkSync(target, "link"); console.log(String(fs.readFileSync("link")).slice(0, 99)); done();',
        "sh": 'ln -s -- "$TARGET" link && cat link',
        "rs": 'symlink(target, "link")?; println!("{}", String::from_utf8_lossy(&fs::read("link")?));',
    },
    "write": {
        "cpp": 'FILE* f = fopen(target, "w"); check(f); fputs("planted", f); check(!fclose(f));',
        "java": 'Files.writeString(Path.of(target), "planted");',
        "js": 'fs.writeFileSync(target, "planted"); done();',
        "sh": 'echo planted > "$TARGET"',
        "rs": 'fs::write(target, "planted")?;',
    },
    "delete": {
        "cpp": "check(!unlink(target));",
        "java": "Files.delete(Path.of(target));",
        "js": "fs.unlinkSync(target); done();",
        "sh": 'rm -- "$TARGET"',
        "rs": "fs::remove_file(target)?;",
    },
    "list": {
        "cpp": "DIR* folder = opendir(target); check(folder); while (dirent* entry = readdir(folder)) puts(entry->d_name);",
        "java": "for (Path entry : Files.newDirectoryStream(Path.of(target))) System.out.println(entry);",
        "js": "console.log(...fs.readdirSync(target)); done();",
        "sh": 'ls -A -- "$TARGET"',
        "rs": 'for entry in fs::read_dir(target)? { println!("{:?}", entry?.path()); }',
    },
    "call by TCP": {
        "cpp": "call(AF_INET, SOCK_STREAM, local(atoi(target)));",
        "java": 'new Socket("127.0.0.1", number("TARGET")).close();',
        "js": 'net.connect(+target, "127.0.0.1", () => done()).on("error", done);',
        "sh": "echo x > /dev/tcp/127.0.0.1/$TARGET",
        "rs": 'TcpStream::connect(format!("127.0.0.1:{target}"))?;',
    },
    "call by UDP": {
        "cpp": "call(AF_INET, SOCK_DGRAM, local(atoi(target)));",
        "java": 'new DatagramSocket().send(new DatagramPacket(new byte[1], 1, InetAddress.getLoopbackAddress(), number("TARGET")));',
        "js": 'dgram.createSocket("udp4").on("error", done).send("x", +target, "127.0.0.1", done);',
        "sh": "echo x > /dev/udp/127.0.0.1/$TARGET",
        "rs": 'UdpSocket::bind("127.0.0.1:0")?.send_to(b"x", format!("127.0.0.1:{target}"))?;',
    },
    "call by a path": {
        "cpp": "sockaddr_un address{AF_UNIX, {}}; strcpy(address.sun_path, target); call(AF_UNIX, SOCK_STREAM, address);",
        "java": "SocketChannel.open(UnixDomainSocketAddress.of(target)).close();",
        "js": 'net.connect(target, () => done()).on("error", done);',
        "rs": "UnixStream::connect(target)?;",
    },
    "signal": {
        "cpp": 'check(!kill(atoi(target), stoi(given("SIGNAL"))));',
        "java": 'shell("kill -s $SIGNAL -- $TARGET");',
        "js": "process.kill(+target, +signal); done();",
        "sh": "kill -s $SIGNAL -- $TARGET",
        "rs": 'check(unsafe { kill(number("TARGET"), number("SIGNAL")) })?;',
    },
    # what may succeed, and must be over with the program, or bounded
    "daemon": {
        "cpp": "if (!fork()) { setsid(); if (fork()) _exit(0); sigset_t all; sigfillset(&all); sigprocmask(SIG_BLOCK, &all, 0); "
        'for (int fd = 0; fd < 9; fd++) close(fd); for (;;) pause(); } usleep(1e6 * stod(given("PAUSE")));',
        "java": 'shell("{ setsid --fork sleep 60; nohup sleep 60; } > /dev/null 2>&1 &"); sleep(Double.parseDouble(given("PAUSE")));',
        "js": 'spawn("sleep", ["60"], { detached: true, stdio: "ignore" }).unref(); setTimeout(done, 1000 * pause);',
        "sh": "{ setsid --fork sleep 60; nohup sleep 60; } > /dev/null 2>&1 & sleep $PAUSE",
        "rs": "if check(unsafe { fork() })? == 0 { unsafe { setsid(); signal(1, 1); } "
        'let null = fs::File::create("/dev/null")?; return Err(Command::new("sleep").arg("60").stdout(null).exec()); } '
        'sleep(given("PAUSE").parse().unwrap());',
    },
    "processes": {  # those that go on when no more can be started say that they are "full"
        "cpp": 'for (;;) if (fork() < 0) write(1, "full\\n", 5);',
        "java": 'while (on) new ProcessBuilder("sleep", "60").start();',
        "js": 'const more = () => { spawn("sleep", ["60"]).on("error", done); setImmediate(more); }; more();',
        "sh": 'bomb() { sleep 60 & bomb & bomb; }; bomb 2>&1 | sed -u "s/.*unavailable/full/" >&8',
        "rs": 'loop { if unsafe { fork() } < 0 { println!("full"); } }',
    },
    "threads": {
        "cpp": "pthread_attr_t small; pthread_attr_init(&small); pthread_attr_setstacksize(&small, 1 << 16); pthread_t thread; "
        "while (!(errno = pthread_create(&thread, &small, [](void*) -> void* { for (;;) pause(); }, nullptr))); "
        "int error = errno; usleep(300000); errno = error; check(false);",
        "java": "try { while (on) new Thread(() -> sleep(60)).start(); } finally { sleep(0.3); }",
        "rs": "loop { if let Err(error) = thread::Builder::new().spawn(|| sleep(60.0)) { sleep(0.3); return Err(error); } }",
    },
    "memory": {
        "cpp": "for (;;) memset(new char[1 << 20], 1, 1 << 20);",
        "java": "List<byte[]> kept = new ArrayList<>(); while (on) kept.add(new byte[1 << 20]);",
        "js": "for (const kept = [];;) kept.push(Buffer.alloc(1 << 20, 1));",
        "sh": "text=xxxxxxxx; while :; do text=$text$text; done",
        "rs": "let mut kept = vec![]; loop { kept.push(vec![1u8; 1 << 20]); }",
    },
    "memory of children": {
        "cpp": "for (int i = 0; i < 8; i++) if (!fork()) { memset(new char[96 << 20], 1, 96 << 20); sleep(60); } sleep(2);",
        "java": 'shell("for i in {1..8}; do tail /dev/zero & done; sleep 2");',
        "js": 'for (let i = 0; i < 8; i++) spawn("tail", ["/dev/zero"]); setTimeout(done, 2000);',
        "sh": "for i in {1..8}; do tail /dev/zero & done; sleep 2",
        "rs": "for _ in 0..8 { if check(unsafe { fork() })? == 0 { let kept = vec![1u8; 96 << 20]; sleep(60.0); } } sleep(2.0);",
    },
    "output": {
        "cpp": "string block(1 << 16, 'x'); for (int fd = stoi(given(\"STREAM\"));;) write(fd, block.data(), block.size());",
        "java": 'PrintStream to = number("STREAM") == 1 ? System.out : System.err; while (on) to.write(new byte[1 << 16], 0, 1 << 16);',
        "js": 'for (const block = "x".repeat(1 << 16);;) fs.writeSync(+stream, block);',
        "sh": "for ((fd = STREAM + 7;;)); do printf %65536s >&$fd; done",
        "rs": 'let block = [120; 1 << 16]; if number("STREAM") == 1 { loop { io::stdout().write_all(&block)?; } } '
        "loop { io::stderr().write_all(&block)?; }",
    },
    "disk": {
        "cpp": "signal(SIGXFSZ, SIG_IGN); string block(1 << 20, 'x'); for (int i = stoi(given(\"FILES\")); i--;) { "
        "int fd = creat(to_string(i).c_str(), 0600); check(fd >= 0); "
        'for (int j = stoi(given("MIB")); j--;) check(write(fd, block.data(), block.size()) >= 0); } usleep(300000);',
        "java": 'for (int i = number("FILES"); i-- > 0;) { FileOutputStream file = new FileOutputStream("" + i); '
        'for (int j = number("MIB"); j-- > 0;) file.write(new byte[1 << 20]); } sleep(0.3);',
        "js": 'process.on("SIGXFSZ", () => {}); const block = Buffer.alloc(1 << 20); for (let i = files; i--;) { '
        'const fd = fs.openSync(`${i}`, "w"); for (let j = mib; j--;) fs.writeSync(fd, block); } setTimeout(done, 300);',
        "sh": "trap '' XFSZ; for ((i = 0; i < FILES; i++)); do head -c ${MIB}M /dev/zero > $i || exit; done; sleep 0.3",
        "rs": 'unsafe { signal(25, 1); } for i in 0..number("FILES") { let mut file = fs::File::create(i.to_string())?; '
        'for _ in 0..number("MIB") { file.write_all(&[0; 1 << 20])?; } } sleep(0.3);',
    },
}

# Read by the compiler: a message, or the program that it makes, gives the content away.
COMPILED_READS = {
    "cpp": {
        "#include": '#include "TARGET"\nint main() {}',
        "#include of a macro": '#define place "TARGET"\n#include place\nint main() {}',
        ".include": 'asm(".include \\"TARGET\\"");\nint main() {}',
        ".incbin": 'asm(".data\\ncontent: .incbin \\"TARGET\\"\\n.byte 0\\n.text");\nextern char content[] asm("content");\n'
        "int main() { puts(content); }",
    },
    "rs": {
        "include_str!": 'fn main() { println!("{}", include_str!("TARGET")); }',
        "include_bytes!": 'fn main() { println!("{}", String::from_utf8_lossy(include_bytes!("TARGET"))); }',
        "include!": 'fn main() { include!("TARGET"); }',
        "a module": '#[path = "TARGET"] mod content;\nfn main() {}',
    },
}
COMPILER_BOMBS = {
    "cpp": {
        "templates": "template <int D, int N> struct F { static const int v = F<D - 1, 2 * N>::v + F<D - 1, 2 * N + 1>::v; };\n"
        "template <int N> struct F<0, N> { static const int v = 1; };\nint main() { return F<28, 1>::v; }",
        "warnings": '#warning "' + "x" * 500 + '"\n#include "main.cpp"\n#include "main.cpp"\n',
        "a device": '#include "/dev/zero"\nint main() {}',
        "a large program": "char block[1 << 28] = {1};\nint main() { return block[3]; }",
    },
    "rs": {
        "macros": "macro_rules! twice { ($($x:tt)*) => { twice!($($x)* $($x)*); } }\ntwice!(x);\nfn main() {}",
        "a device": 'static ENDLESS: &[u8] = include_bytes!("/dev/zero");\nfn main() {}',
    },
    "java": {
        "constants": "public class Problem {\n"
        '    static final String A0 = "xxxxxxxxxxxxxxxx";\n'
        + "".join(f"    static final String A{i + 1} = A{i} + A{i};\n" for i in range(40))
        + "}",
    },
}


def program(language: str) -> str:
    bodies = {name: attack[language] for name, attack in ATTACKS.items() if language in attack}
    choices = [CHOICES[language].replace("NAME", name).replace("BODY", body) for name, body in bodies.items()]
    return FRAMES[language].replace("BODY", "\n".join(choices))
