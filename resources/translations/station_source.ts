<?xml version="1.0" encoding="utf-8"?>
<!DOCTYPE TS>
<TS version="2.1" sourcelanguage="en">
<context>
    <name>BenchDialog</name>
    <message><source>An argument is typed behind a colon: {name}:ARGUMENT</source><translation type="unfinished"></translation></message>
    <message><source>Arm fault</source><translation type="unfinished"></translation></message>
    <message><source>Armed in {list}</source><translation type="unfinished"></translation></message>
    <message><source>Ask again</source><translation type="unfinished"></translation></message>
    <message><source>Bench</source><translation type="unfinished"></translation></message>
    <message><source>Clear faults</source><translation type="unfinished"></translation></message>
    <message><source>Close lid</source><translation type="unfinished"></translation></message>
    <message><source>Do it</source><translation type="unfinished"></translation></message>
    <message><source>Insert part</source><translation type="unfinished"></translation></message>
    <message><source>No fault is armed.</source><translation type="unfinished"></translation></message>
    <message><source>Open lid</source><translation type="unfinished"></translation></message>
    <message><source>Plug adapter in</source><translation type="unfinished"></translation></message>
    <message><source>Power off</source><translation type="unfinished"></translation></message>
    <message><source>Power on</source><translation type="unfinished"></translation></message>
    <message><source>Remove part</source><translation type="unfinished"></translation></message>
    <message><source>Socket {n}</source><translation type="unfinished"></translation></message>
    <message><source>Unplug adapter</source><translation type="unfinished"></translation></message>
    <message><source>socket {n}: {faults}</source><translation type="unfinished"></translation></message>
</context>
<context>
    <name>BinsCard</name>
    <message><source>Bins</source><translation type="unfinished"></translation></message>
</context>
<context>
    <name>Checklist</name>
    <message><source>not needed</source><translation type="unfinished"></translation></message>
    <message><source>{n} more steps</source><translation type="unfinished"></translation></message>
</context>
<context>
    <name>EngineLink</name>
    <message><source>The engine could not be started: {error}</source><translation type="unfinished"></translation></message>
</context>
<context>
    <name>EngineerMenu</name>
    <message><source>As the system</source><translation type="unfinished"></translation></message>
    <message><source>Bench</source><translation type="unfinished"></translation></message>
    <message><source>Dark</source><translation type="unfinished"></translation></message>
    <message><source>History</source><translation type="unfinished"></translation></message>
    <message><source>Light</source><translation type="unfinished"></translation></message>
    <message><source>Operators</source><translation type="unfinished"></translation></message>
    <message><source>Pareto of bins</source><translation type="unfinished"></translation></message>
    <message><source>Recipe and lot…</source><translation type="unfinished"></translation></message>
    <message><source>Registrations</source><translation type="unfinished"></translation></message>
    <message><source>Show the last run of socket {n}</source><translation type="unfinished"></translation></message>
    <message><source>Sockets compared</source><translation type="unfinished"></translation></message>
    <message><source>Step times</source><translation type="unfinished"></translation></message>
    <message><source>Stop all sockets</source><translation type="unfinished"></translation></message>
    <message><source>Text size</source><translation type="unfinished"></translation></message>
    <message><source>Theme</source><translation type="unfinished"></translation></message>
    <message><source>Yield</source><translation type="unfinished"></translation></message>
    <message><source>{size} %</source><translation type="unfinished"></translation></message>
</context>
<context>
    <name>Header</name>
    <message><source>Appliance</source><translation type="unfinished"></translation></message>
    <message><source>Engineer…</source><translation type="unfinished"></translation></message>
    <message><source>Flow</source><translation type="unfinished"></translation></message>
    <message><source>Key: {key}</source><translation type="unfinished"></translation></message>
    <message><source>Lock</source><translation type="unfinished"></translation></message>
    <message><source>Lot</source><translation type="unfinished"></translation></message>
    <message><source>Operator</source><translation type="unfinished"></translation></message>
    <message><source>Recipe · build</source><translation type="unfinished"></translation></message>
    <message><source>SKU</source><translation type="unfinished"></translation></message>
    <message><source>Tray</source><translation type="unfinished"></translation></message>
    <message><source>Wafer / tray</source><translation type="unfinished"></translation></message>
    <message><source>rev {revision} · {build}</source><translation type="unfinished"></translation></message>
    <message><source>{n} registrations pending</source><translation type="unfinished"></translation></message>
</context>
<context>
    <name>HistoryDialog</name>
    <message><source>Choose a row first.</source><translation type="unfinished"></translation></message>
    <message><source>Device id, label, lot, bin, date or operator; Enter asks for all times</source><translation type="unfinished"></translation></message>
    <message><source>History</source><translation type="unfinished"></translation></message>
    <message><source>Open the run</source><translation type="unfinished"></translation></message>
    <message><source>Part…</source><translation type="unfinished"></translation></message>
</context>
<context>
    <name>LabelDialog</name>
    <message><source>Expected: {what}</source><translation type="unfinished"></translation></message>
    <message><source>Label</source><translation type="unfinished"></translation></message>
    <message><source>Socket {n}: type the label</source><translation type="unfinished"></translation></message>
    <message><source>Use this label</source><translation type="unfinished"></translation></message>
</context>
<context>
    <name>LogCard</name>
    <message><source>All</source><translation type="unfinished"></translation></message>
    <message><source>Details</source><translation type="unfinished"></translation></message>
    <message><source>Find…</source><translation type="unfinished"></translation></message>
    <message><source>Log</source><translation type="unfinished"></translation></message>
    <message><source>Pause</source><translation type="unfinished"></translation></message>
    <message><source>Sign in to see the log.</source><translation type="unfinished"></translation></message>
    <message><source>{n} lines dropped</source><translation type="unfinished"></translation></message>
    <message><source>{n} waiting</source><translation type="unfinished"></translation></message>
</context>
<context>
    <name>LotCard</name>
    <message><source>Since {moment} · no lot</source><translation type="unfinished"></translation></message>
    <message><source>This lot</source><translation type="unfinished"></translation></message>
    <message><source>Today since {clock} · no lot</source><translation type="unfinished"></translation></message>
    <message><source>fail</source><translation type="unfinished"></translation></message>
    <message><source>first-pass yield</source><translation type="unfinished"></translation></message>
    <message><source>hold · quarantine</source><translation type="unfinished"></translation></message>
    <message><source>pass</source><translation type="unfinished"></translation></message>
    <message><source>to go</source><translation type="unfinished"></translation></message>
    <message><source>units / h</source><translation type="unfinished"></translation></message>
    <message><source>{value:.1f} %</source><translation type="unfinished"></translation></message>
</context>
<context>
    <name>MapCard</name>
    <message><source>Tray {name}</source><translation type="unfinished"></translation></message>
    <message><source>Wafer {name}</source><translation type="unfinished"></translation></message>
</context>
<context>
    <name>MapView</name>
    <message><source>x {x}, y {y}: {kind} bin {bin}</source><translation type="unfinished"></translation></message>
</context>
<context>
    <name>PartDialog</name>
    <message><source>Part {part}</source><translation type="unfinished"></translation></message>
    <message><source>Release from quarantine…</source><translation type="unfinished"></translation></message>
</context>
<context>
    <name>QueryDialog</name>
    <message><source>Asking the engine…</source><translation type="unfinished"></translation></message>
    <message><source>Find…</source><translation type="unfinished"></translation></message>
    <message><source>{n} rows</source><translation type="unfinished"></translation></message>
</context>
<context>
    <name>RecipeDialog</name>
    <message><source>Lot</source><translation type="unfinished"></translation></message>
    <message><source>Recipe</source><translation type="unfinished"></translation></message>
    <message><source>Recipe and lot</source><translation type="unfinished"></translation></message>
    <message><source>Tray</source><translation type="unfinished"></translation></message>
    <message><source>Use this recipe</source><translation type="unfinished"></translation></message>
    <message><source>Wafer</source><translation type="unfinished"></translation></message>
</context>
<context>
    <name>ReleaseDialog</name>
    <message><source>In quarantine</source><translation type="unfinished"></translation></message>
    <message><source>Part</source><translation type="unfinished"></translation></message>
    <message><source>Reason</source><translation type="unfinished"></translation></message>
    <message><source>Release the part</source><translation type="unfinished"></translation></message>
    <message><source>Release {part}</source><translation type="unfinished"></translation></message>
    <message><source>The reason is recorded with your name. A part that is released may be burnt again.</source><translation type="unfinished"></translation></message>
    <message><source>What was checked, and why the part may go on</source><translation type="unfinished"></translation></message>
</context>
<context>
    <name>RunDialog</name>
    <message><source>Answers and endings</source><translation type="unfinished"></translation></message>
    <message><source>Burns</source><translation type="unfinished"></translation></message>
    <message><source>Console and log (of this window's session)</source><translation type="unfinished"></translation></message>
    <message><source>Find in this run</source><translation type="unfinished"></translation></message>
    <message><source>Kept for this part</source><translation type="unfinished"></translation></message>
    <message><source>Measurements</source><translation type="unfinished"></translation></message>
    <message><source>No run was recorded here yet.</source><translation type="unfinished"></translation></message>
    <message><source>Part…</source><translation type="unfinished"></translation></message>
    <message><source>RUNNING</source><translation type="unfinished"></translation></message>
    <message><source>Sent to the appliance</source><translation type="unfinished"></translation></message>
    <message><source>Steps</source><translation type="unfinished"></translation></message>
    <message><source>at</source><translation type="unfinished"></translation></message>
    <message><source>bin {bin} → {tray}</source><translation type="unfinished"></translation></message>
    <message><source>burn</source><translation type="unfinished"></translation></message>
    <message><source>bytes</source><translation type="unfinished"></translation></message>
    <message><source>call</source><translation type="unfinished"></translation></message>
    <message><source>detail</source><translation type="unfinished"></translation></message>
    <message><source>form</source><translation type="unfinished"></translation></message>
    <message><source>how</source><translation type="unfinished"></translation></message>
    <message><source>limits</source><translation type="unfinished"></translation></message>
    <message><source>ms</source><translation type="unfinished"></translation></message>
    <message><source>name</source><translation type="unfinished"></translation></message>
    <message><source>seconds</source><translation type="unfinished"></translation></message>
    <message><source>sent → got</source><translation type="unfinished"></translation></message>
    <message><source>source</source><translation type="unfinished"></translation></message>
    <message><source>step</source><translation type="unfinished"></translation></message>
    <message><source>text</source><translation type="unfinished"></translation></message>
    <message><source>value</source><translation type="unfinished"></translation></message>
    <message><source>what</source><translation type="unfinished"></translation></message>
    <message><source>{n} rows</source><translation type="unfinished"></translation></message>
</context>
<context>
    <name>SignInDialog</name>
    <message><source>Name</source><translation type="unfinished"></translation></message>
    <message><source>PIN</source><translation type="unfinished"></translation></message>
    <message><source>Scan the badge or type the name</source><translation type="unfinished"></translation></message>
    <message><source>Sign in</source><translation type="unfinished"></translation></message>
</context>
<context>
    <name>SocketTile</name>
    <message><source>Change the label…</source><translation type="unfinished"></translation></message>
    <message><source>Insert virtual part</source><translation type="unfinished"></translation></message>
    <message><source>Remove virtual part</source><translation type="unfinished"></translation></message>
    <message><source>Socket {n}</source><translation type="unfinished"></translation></message>
    <message><source>Stop</source><translation type="unfinished"></translation></message>
    <message><source>Type the label…</source><translation type="unfinished"></translation></message>
</context>
<context>
    <name>StationWindow</name>
    <message><source>Close now; the engine goes on</source><translation type="unfinished"></translation></message>
    <message><source>Finish, then close</source><translation type="unfinished"></translation></message>
    <message><source>Provisioning Station</source><translation type="unfinished"></translation></message>
    <message><source>Provisioning Station: the engine is finishing</source><translation type="unfinished"></translation></message>
    <message><source>Run {run}</source><translation type="unfinished"></translation></message>
    <message><source>Socket {numbers} is being written: do not remove the part.</source><translation type="unfinished"></translation></message>
    <message><source>Socket {numbers} is working.</source><translation type="unfinished"></translation></message>
    <message><source>Socket {n}: </source><translation type="unfinished"></translation></message>
    <message><source>Socket {n}: run</source><translation type="unfinished"></translation></message>
    <message><source>There is no engine that could take this.</source><translation type="unfinished"></translation></message>
    <message><source>This is a recording: nothing is sent.</source><translation type="unfinished"></translation></message>
    <message><source>This window speaks version {ours}, the engine version {theirs}: update the older one.</source><translation type="unfinished"></translation></message>
    <message><source>Wait</source><translation type="unfinished"></translation></message>
    <message><source>Wait, or let the engine finish what it is writing and stop; the window closes when that is done.</source><translation type="unfinished"></translation></message>
</context>
<context>
    <name>YieldPlot</name>
    <message><source>stop limit {limit:.0f} %</source><translation type="unfinished"></translation></message>
</context>
<context>
    <name>primary</name>
    <message><source>A label that cannot be scanned can be typed in its tile.</source><translation type="unfinished"></translation></message>
    <message><source>Acknowledge {n}   [Space]</source><translation type="unfinished"></translation></message>
    <message><source>All sockets are working</source><translation type="unfinished"></translation></message>
    <message><source>Choose recipe   [Space]</source><translation type="unfinished"></translation></message>
    <message><source>Close lid {n}   [Space]</source><translation type="unfinished"></translation></message>
    <message><source>DO NOT REMOVE any part: the record cannot be written</source><translation type="unfinished"></translation></message>
    <message><source>Do not move the part. Answer with a button here or its key.</source><translation type="unfinished"></translation></message>
    <message><source>Do not open socket {numbers}.</source><translation type="unfinished"></translation></message>
    <message><source>Insert virtual part {n}   [Space]</source><translation type="unfinished"></translation></message>
    <message><source>It chooses the recipe and the lot; an engineer can also choose them by hand.</source><translation type="unfinished"></translation></message>
    <message><source>No new parts are started.</source><translation type="unfinished"></translation></message>
    <message><source>Nothing to do</source><translation type="unfinished"></translation></message>
    <message><source>On the virtual bench the key puts a part in and closes the lid.</source><translation type="unfinished"></translation></message>
    <message><source>On the virtual bench the key puts a part in.</source><translation type="unfinished"></translation></message>
    <message><source>On the virtual bench the key takes the part out.</source><translation type="unfinished"></translation></message>
    <message><source>Part {label} is ready.</source><translation type="unfinished"></translation></message>
    <message><source>Press Space or scan the tray; then remove the part {tray}</source><translation type="unfinished"></translation></message>
    <message><source>Press Space or the foot switch.</source><translation type="unfinished"></translation></message>
    <message><source>Remove virtual part {n}   [Space]</source><translation type="unfinished"></translation></message>
    <message><source>Runs in progress go on.</source><translation type="unfinished"></translation></message>
    <message><source>Scan the lot traveller</source><translation type="unfinished"></translation></message>
    <message><source>Scan your badge, or type name and PIN.</source><translation type="unfinished"></translation></message>
    <message><source>Sign in   [Space]</source><translation type="unfinished"></translation></message>
    <message><source>Sign in to work at this bench</source><translation type="unfinished"></translation></message>
    <message><source>Socket {n} asks a question</source><translation type="unfinished"></translation></message>
    <message><source>Socket {n}: bench fault, the part is not blamed</source><translation type="unfinished"></translation></message>
    <message><source>Socket {n}: close the lid</source><translation type="unfinished"></translation></message>
    <message><source>Socket {n}: insert the next part</source><translation type="unfinished"></translation></message>
    <message><source>Socket {n}: insert the next part and close the lid</source><translation type="unfinished"></translation></message>
    <message><source>Socket {n}: is the part {label} still in it?</source><translation type="unfinished"></translation></message>
    <message><source>Socket {n}: quarantine, call an engineer</source><translation type="unfinished"></translation></message>
    <message><source>Socket {n}: read and acknowledge</source><translation type="unfinished"></translation></message>
    <message><source>Socket {n}: remove the part</source><translation type="unfinished"></translation></message>
    <message><source>Socket {n}: remove the part {tray}</source><translation type="unfinished"></translation></message>
    <message><source>Socket {n}: scan the {what}</source><translation type="unfinished"></translation></message>
    <message><source>Socket {n}: start the part</source><translation type="unfinished"></translation></message>
    <message><source>Socket {n}: take out the part</source><translation type="unfinished"></translation></message>
    <message><source>Start socket {n}   [Space]</source><translation type="unfinished"></translation></message>
    <message><source>Start the engine   [Space]</source><translation type="unfinished"></translation></message>
    <message><source>The engine has stopped: leave the parts where they are</source><translation type="unfinished"></translation></message>
    <message><source>The engine is starting</source><translation type="unfinished"></translation></message>
    <message><source>The recording has ended</source><translation type="unfinished"></translation></message>
    <message><source>The verdict stays until the part is out.</source><translation type="unfinished"></translation></message>
    <message><source>Then scan it.</source><translation type="unfinished"></translation></message>
    <message><source>There is no engine for this window: leave the parts where they are</source><translation type="unfinished"></translation></message>
    <message><source>Try again   [Space]</source><translation type="unfinished"></translation></message>
    <message><source>Waiting for the engine</source><translation type="unfinished"></translation></message>
    <message><source>part label</source><translation type="unfinished"></translation></message>
</context>
<context>
    <name>rows</name>
    <message><source>no</source><translation type="unfinished"></translation></message>
    <message><source>yes</source><translation type="unfinished"></translation></message>
</context>
<context>
    <name>sources</name>
    <message><source>End of {file}.</source><translation type="unfinished"></translation></message>
    <message><source>Exit code {code}: {line}</source><translation type="unfinished"></translation></message>
    <message><source>The engine closed its output but still runs; it keeps the data folder.</source><translation type="unfinished"></translation></message>
    <message><source>The engine ended with exit code {code}.</source><translation type="unfinished"></translation></message>
</context>
<context>
    <name>words</name>
    <message><source>ANSWER</source><translation type="unfinished"></translation></message>
    <message><source>BENCH FAULT</source><translation type="unfinished"></translation></message>
    <message><source>Being written when the engine stopped: {title}</source><translation type="unfinished"></translation></message>
    <message><source>CHECKING</source><translation type="unfinished"></translation></message>
    <message><source>Contact check</source><translation type="unfinished"></translation></message>
    <message><source>DO NOT REMOVE</source><translation type="unfinished"></translation></message>
    <message><source>Do not move the part.</source><translation type="unfinished"></translation></message>
    <message><source>Do not remove the part.</source><translation type="unfinished"></translation></message>
    <message><source>Do not retest.</source><translation type="unfinished"></translation></message>
    <message><source>Do not retest: engineer only.</source><translation type="unfinished"></translation></message>
    <message><source>ENGINE STOPPED</source><translation type="unfinished"></translation></message>
    <message><source>ENGINEERING · does not count in yield</source><translation type="unfinished"></translation></message>
    <message><source>Engineer only {tray}</source><translation type="unfinished"></translation></message>
    <message><source>Expected: {what}</source><translation type="unfinished"></translation></message>
    <message><source>FAIL</source><translation type="unfinished"></translation></message>
    <message><source>Finishes by: {what}</source><translation type="unfinished"></translation></message>
    <message><source>HOLD</source><translation type="unfinished"></translation></message>
    <message><source>INSERT PART</source><translation type="unfinished"></translation></message>
    <message><source>INTERRUPTED</source><translation type="unfinished"></translation></message>
    <message><source>In flight: {title}</source><translation type="unfinished"></translation></message>
    <message><source>It may be started.</source><translation type="unfinished"></translation></message>
    <message><source>Last shown: {word}</source><translation type="unfinished"></translation></message>
    <message><source>Leave the part in the socket.</source><translation type="unfinished"></translation></message>
    <message><source>Leave the part in the socket: nothing is known of it.</source><translation type="unfinished"></translation></message>
    <message><source>Lid closed</source><translation type="unfinished"></translation></message>
    <message><source>Lid open</source><translation type="unfinished"></translation></message>
    <message><source>No</source><translation type="unfinished"></translation></message>
    <message><source>No: quarantine</source><translation type="unfinished"></translation></message>
    <message><source>Nobody can know the state of this part.</source><translation type="unfinished"></translation></message>
    <message><source>Nothing was in flight.</source><translation type="unfinished"></translation></message>
    <message><source>PASS</source><translation type="unfinished"></translation></message>
    <message><source>Part {label}</source><translation type="unfinished"></translation></message>
    <message><source>Pin 1 towards the red dot. Wait for the lid click.</source><translation type="unfinished"></translation></message>
    <message><source>Press again: quarantine {label}</source><translation type="unfinished"></translation></message>
    <message><source>Put the part in. It is there when it answers.</source><translation type="unfinished"></translation></message>
    <message><source>QUARANTINE</source><translation type="unfinished"></translation></message>
    <message><source>READY</source><translation type="unfinished"></translation></message>
    <message><source>REPLAY · recorded events, nothing is sent to any bench</source><translation type="unfinished"></translation></message>
    <message><source>RUNNING {percent} %</source><translation type="unfinished"></translation></message>
    <message><source>Remove the part. Its record is stored.</source><translation type="unfinished"></translation></message>
    <message><source>Retest allowed in another socket.</source><translation type="unfinished"></translation></message>
    <message><source>Retest allowed in the same socket.</source><translation type="unfinished"></translation></message>
    <message><source>SCAN</source><translation type="unfinished"></translation></message>
    <message><source>Stop waits: a burn is never torn.</source><translation type="unfinished"></translation></message>
    <message><source>Stops after this burn: a burn is never torn.</source><translation type="unfinished"></translation></message>
    <message><source>Stops at the next wait.</source><translation type="unfinished"></translation></message>
    <message><source>TAKE OUT</source><translation type="unfinished"></translation></message>
    <message><source>TRAINING · does not count in yield</source><translation type="unfinished"></translation></message>
    <message><source>The bench is at fault, not the part.</source><translation type="unfinished"></translation></message>
    <message><source>The journal asks about this part when the engine starts again.</source><translation type="unfinished"></translation></message>
    <message><source>The record cannot be written.</source><translation type="unfinished"></translation></message>
    <message><source>VIRTUAL · simulated bench, nothing counts in yield</source><translation type="unfinished"></translation></message>
    <message><source>Waiting for the engine</source><translation type="unfinished"></translation></message>
    <message><source>Waits for your answer.</source><translation type="unfinished"></translation></message>
    <message><source>Yes</source><translation type="unfinished"></translation></message>
    <message><source>Yes: check it</source><translation type="unfinished"></translation></message>
    <message><source>bin {bin}</source><translation type="unfinished"></translation></message>
    <message><source>contacts {n} of {limit}</source><translation type="unfinished"></translation></message>
    <message><source>found done</source><translation type="unfinished"></translation></message>
    <message><source>id {id}</source><translation type="unfinished"></translation></message>
    <message><source>part label</source><translation type="unfinished"></translation></message>
    <message><source>part {label}</source><translation type="unfinished"></translation></message>
    <message><source>{elapsed:.1f} s</source><translation type="unfinished"></translation></message>
    <message><source>{elapsed:.1f} s / ~{typical:.0f} s</source><translation type="unfinished"></translation></message>
    <message><source>{percent} %   ◆ {title}</source><translation type="unfinished"></translation></message>
    <message><source>{seconds:.1f} s</source><translation type="unfinished"></translation></message>
    <message><source>→ tray {tray}</source><translation type="unfinished"></translation></message>
    <message><source>◆ Waiting until the chip's worst case has passed</source><translation type="unfinished"></translation></message>
</context>
</TS>
