#!/usr/bin/env bash
# A job under a real Slurm of one machine: submitted with sbatch, told by the signal before the time limit to save and stop, requeued, resumed to
# the end; its weights are those of a run by mpirun that was never stopped, bit by bit. Then a task is killed, and the others do not hang. Then sweeps.
#
#   tests/slurm/run.sh [BUILD]        needs Debian's slurm-wlm and munge; starts their daemons in a temporary folder (exit 77: not installed)
set -euo pipefail
PATH=$PATH:/usr/sbin:/sbin
for program in slurmctld slurmd sbatch munged; do
    command -v $program >/dev/null || { echo "skipped: $program is not installed (Debian: slurm-wlm, munge)" && exit 77; }
done
export BUILD=${1:-}
# shellcheck source=tests/faults/common.sh
. "$(dirname "$0")/../faults/common.sh"

# Slurm looks at time limits every 30 seconds: a job must last longer for the signal to reach it.
began=$(milliseconds)
finish 2 probe
steps=$((steps * 90000 / ($(milliseconds) - began)))
settings+=("training.max_steps=$steps" training.save_steps=0 training.logging_steps=50)

# --- a cluster of one node

node=$(hostname -s)
port=$((20000 + $$ % 20000))
slurm=$folder/slurm
user=$(id -un)
mkdir -p "$slurm"/{state,spool,munge}
chmod 700 "$slurm/munge"
export SLURM_CONF=$slurm/slurm.conf
cat >"$SLURM_CONF" <<END
ClusterName=difflmm
SlurmctldHost=$node(127.0.0.1)
SlurmctldPort=$port
SlurmdPort=$((port + 1))
SlurmUser=$user
SlurmdUser=$user
AuthType=auth/munge
AuthInfo=socket=$slurm/munge/socket,cred_expire=3
CredType=cred/munge
StateSaveLocation=$slurm/state
SlurmdSpoolDir=$slurm/spool
SlurmctldPidFile=$slurm/slurmctld.pid
SlurmdPidFile=$slurm/slurmd.pid
SlurmctldLogFile=$slurm/slurmctld.txt
SlurmdLogFile=$slurm/slurmd.txt
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerType=sched/backfill
SchedulerParameters=sched_interval=1,bf_interval=1,batch_sched_delay=0
SlurmdParameters=config_overrides
MailProg=/bin/true
MpiDefault=pmix
ReturnToService=2
KillWait=30
JobRequeue=1
NodeName=$node NodeAddr=127.0.0.1 CPUs=4 Sockets=1 CoresPerSocket=4 ThreadsPerCore=1 State=UNKNOWN
PartitionName=all Nodes=$node Default=YES MaxTime=INFINITE State=UP
END
echo "CgroupAutomount=no" >"$slurm/cgroup.conf"
dd if=/dev/urandom of="$slurm/munge/key" bs=128 count=1 status=none
chmod 400 "$slurm/munge/key"

daemons=()
stop_cluster() {
    scontrol shutdown >/dev/null 2>&1 || true
    sleep 1
    kill "${daemons[@]}" 2>/dev/null || true
    wait "${daemons[@]}" 2>/dev/null || true
}
trap 'code=$?; stop_cluster; (exit $code); clean_up' EXIT

munged --foreground --force --key-file="$slurm/munge/key" --socket="$slurm/munge/socket" --pid-file="$slurm/munge/pid" \
    --seed-file="$slurm/munge/seed" --log-file="$slurm/munge/log" >"$slurm/munged.txt" 2>&1 &
daemons+=($!)
wait_for 10 "munged does not start" test -S "$slurm/munge/socket"
slurmctld -D >"$slurm/slurmctld.out" 2>&1 &
daemons+=($!)
slurmd -D -N "$node" >"$slurm/slurmd.out" 2>&1 &
daemons+=($!)
node_is_ready() { sinfo -h -o %t 2>/dev/null | grep -q idle; }
wait_for 30 "the node is not ready" node_is_ready
echo "Slurm $(sinfo -V | cut -d' ' -f2) runs on $node"

# --- the job: at most a minute at a time, told 25 seconds before that, or up to 30 seconds earlier, as Slurm does

finish 2 reference
prepare 1 job training.per_device_train_batch_size=1
cat >"$folder/job.sh" <<END
#!/bin/bash
#SBATCH --ntasks=2 --time=1 --requeue --open-mode=append --signal=B:USR1@25
#SBATCH --output=$folder/job.log
cd '$here'
stopped=false
trap 'stopped=true; kill -USR1 \$srun' USR1
srun --mpi=pmix --kill-on-bad-exit=1 $(printf ' %q' "${command[@]}") &
srun=\$!
wait \$srun # returns when the signal comes
wait \$srun
code=\$?
echo "part \${SLURM_RESTART_COUNT:-0}: exit code \$code"
if \$stopped && [ \$code -eq 0 ]; then scontrol requeue \$SLURM_JOB_ID; fi
exit \$code
END
job=$(sbatch --parsable "$folder/job.sh")
is_done() {
    scontrol show job "$job" | grep -q 'JobState=\(COMPLETED\|FAILED\|TIMEOUT\|CANCELLED\|NODE_FAIL\)'
}
wait_for 400 "the job does not end" is_done
scontrol show job "$job" | grep -q JobState=COMPLETED || fail "the job: $(scontrol show job "$job")"
parts=$(scontrol show job "$job" | sed -n 's/.*Restarts=\([0-9]*\).*/\1/p')
[ "$parts" -ge 1 ] || fail "the job was never requeued"
[ "$(grep -c 'exit code 0' "$folder/job.log")" = $((parts + 1)) ] || fail "not every part ended with 0"
same reference job
echo "sbatch, srun --mpi=pmix, 2 tasks: stopped by the time limit's signal and requeued $parts time(s) (from $(sed -n 's/^going on from .*\(step [0-9]*\)$/\1/p' "$folder/job.log" | paste -sd,)), exit 0 each time, same bits as mpirun"

# --- a task dies

prepare 1 dies training.per_device_train_batch_size=1 training.max_steps=100000
srun --mpi=pmix --ntasks=2 --kill-on-bad-exit=0 "${command[@]}" >"$folder/dies.log" 2>&1 &
pid=$!
wait_for 60 "no training" has_losses dies 2
began=$(milliseconds)
kill -KILL "$(pgrep -f "^[^ ]*difflmm .*$folder/dies" | tail -n 1)"
has_ended() { ! kill -0 $pid 2>/dev/null; }
wait_for 60 "the other task hangs" has_ended
code=0
wait $pid || code=$?
[ $code -ne 0 ] || fail "exit code 0 though a task was killed"
wait_for 20 "tasks are left behind" is_quiet
echo "a killed task: the job ended after $((($(milliseconds) - began + 500) / 1000)) s: $(grep -m 1 'task\|waited' "$folder/dies.log")"

# --- a sweep: cells shared out by srun, and cells that are jobs of srun themselves

world=$folder/world/test
settings+=(
    training.per_device_train_batch_size=2 training.save_steps=2 training.max_steps=3 lora.lora_enable=false data.group_by_modality_length=false
    "eval.annotations=$world/instances.json" "eval.image_folder=$world/images" eval.max_new_tokens=12 eval.pictures=0 eval.segmenter=truth
)
write_sweep() { # write_sweep NAME MORE
    cat >"$folder/$1.yaml" <<END
sweep:
  train: [$folder/empty.yaml]
  output_dir: set-on-the-command-line
  variants: {as_is: {}, no_captioner: {model.implicit_captioner: false}, unnormalised: {eval.normalise: false}}
  zip: {training.seed: [1, 2], eval.seed: [1, 2]}
$2
END
}
write_sweep shared ""
write_sweep launched "  launch: [srun, --ntasks=1, --mpi=pmix, --exact]"
sweep=("$difflmm" sweep "$folder/shared.yaml" "${settings[@]}")
"${sweep[@]}" "sweep.output_dir=$folder/alone" >"$folder/alone.log" 2>&1 || fail "alone: exit code $?"
srun --mpi=pmix --ntasks=2 "${sweep[@]}" "sweep.output_dir=$folder/srun" >"$folder/srun.log" 2>&1 || fail "srun: exit code $?"
cmp "$folder/alone/table.json" "$folder/srun/table.json" || fail "srun: another table"
[ "$(cat "$folder"/srun/trainings/*/runs.jsonl | wc -l)" = 4 ] || fail "srun: $(cat "$folder"/srun/trainings/*/runs.jsonl | wc -l) trainings"
srun --mpi=none --ntasks=2 "${sweep[@]}" "sweep.output_dir=$folder/none" >"$folder/none.log" 2>&1 || fail "none: exit code $?"
cmp "$folder/alone/table.json" "$folder/none/table.json" || fail "none: another table"
salloc --ntasks=2 "$difflmm" sweep "$folder/launched.yaml" "${settings[@]}" "sweep.output_dir=$folder/launched" --at-once 2 >"$folder/launched.log" 2>&1 || fail "launched: exit code $?"
cmp "$folder/alone/table.json" "$folder/launched/table.json" || fail "launched: another table"
echo "a sweep whose cells two tasks share, and one whose cells are steps of a job: the table of one process"
