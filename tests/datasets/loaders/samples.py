"""A few invented rows in the layout of each public data set."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any


def put(folder: Path, name: str, text: str) -> Path:
    """Write a file, compressed where its name says so, and return its folder."""
    data = text.encode()
    (folder / name).write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    return folder


PEACE_SOLO = """\
workload,p10,p20,p30,p40,p50,p60,p70,p80,p90,p100,smact100,drama100,mem_gib,power100_w
a-train,1,2,3,4,5,6,7,8,9,10,80.5,30.5,2.5,150
b-inf,11,12,13,14,15,16,17,,19,20,40,20,1.5,90
"""
PEACE_PAIRS = """\
w1,w2,s10,s20,s30,s40,s50,s60,s70,s80,s90,s100
a-train,b-inf,0.9|18,1.9|17,2.9|16,3.9|15,4.9|14,5.9|13,6.9|12,7.9|11,8.9|10,5|9
b-inf,b-inf,1|9,2|8,3|7,4|6,5|5.5,6|4,7|3,8|2,,9|9.5
"""
IGNITER_SOLO = """\
model,batch,sm_pct,latency_ms,throughput_img_s,l2_util_pct,dram_util_pct
alexnet,1,20,2.5,461.5,5.0,10.5
alexnet,1,100,0.75,1402.3,,
vgg19,2,40,10,250,7,8
"""
IGNITER_PAIRS = """\
model_a,model_b,batch_a,batch_b,sm_pct_a,sm_pct_b,latency_a_ms,latency_b_ms,std_a_ms,std_b_ms
alexnet,vgg19,2,4,20,80,2.0,8.0,0.1,0.4
"""
IGNITER_CONFIG: list[dict[str, Any]] = [
    {"alexnet": {"latency": {"1": {"20": 2.5, "100": 0.75}}}},
    {"alexnet": {"throughput": {"1": {"20": 461.5}}}},
    {"alexnet": {"dram": {"1": {"20": 10.5}}}},
    {"vgg19": {"latency": {"2": {"40": 10}}}},
    {"interference": {"latency": [["alexnet", "vgg19", 2, 4, 20, 2.0, 8.0]]}},
]
SPREAD = """\
campaign,model,batch_size,sm_pct,gpu_type,placement,n_workers,workers_on_same_gpu,n_nodes,rank,\
n_iter_total,n_iter_steady,iter_ms_mean,iter_ms_p50,iter_ms_p95,iter_ms_std,gpu_util_pct,\
mem_used_mb_max,timestamp
SC,ResNet18,64,50,RTX_2080Ti,h:0,1,1,1,0,90,60,200.0,199,210,10,60,2048,t
SC_bk,ResNet18,64,50,RTX_2080Ti,h:0,1,1,1,0,90,60,220.0,219,230,11,60,2048,t
SC,ResNet18,64,40,RTX_2080Ti,h:0+h:0+h:1+h:1,4,2,1,1,90,60,320.0,319,330,16,60,4096,t
SC,ResNet18,64,40,RTX_2080Ti,h:0+k:1,2,1,2,0,90,60,300.0,319,330,16,60,2048,t
"""
MUXSERVE = """\
model,tp,sm_pct,batch,seq_len,prefill_ms,decode_ms
llama-7b,2,30,4,128,40,20
llama-7b,2,100,4,128,20,16
llama-7b,2,100,2048,512,,90
"""
MUXSERVE_JSON = {
    "llama-7b": {
        "2": {
            "30": {"4": {"128": {"prefill": 40, "decoding": 20}}},
            "100": {
                "4": {"128": {"prefill": 20, "decoding": 16}},
                "2048": {"512": {"prefill": -1.0, "decoding": 90}},
            },
        }
    }
}
RAPP = """\
source_dir,model,batch,sm_pct,latency_ms
runtime_features,alexnet,2,5,8
runtime_features,alexnet,2,100,4
"""
HASGPU = """\
source,model,batch,sm_pct,time_quota_pct,latency_ms
HAS-GPU,resnet50,4,50,10,80
HAS-GPU,resnet50,4,50,100,8
"""
GAVEL_ALONE = """\
gpu,placement,job,n_gpus,isolated_steps_per_s
v100,consolidated,ResNet-18 (batch size 16),1,5
v100,consolidated,A3C,1,7
v100,consolidated,A3C,2,13
v100,unconsolidated,A3C,1,6
"""
GAVEL_PAIRS = """\
gpu,job_a,job_b,coloc_steps_per_s_a,coloc_steps_per_s_b,feasible,norm_a,norm_b
v100,A3C,ResNet-18 (batch size 16),3.5,2.5,1,0.5,0.5
v100,A3C,A3C,4,4,1,0.57,0.57
v100,ResNet-18 (batch size 16),ResNet-18 (batch size 16),0,0,0,0,0
"""
GAVEL_JSON = {
    "v100": {
        "('ResNet-18 (batch size 16)', 1)": {
            "null": 5,
            "('A3C', 1)": [2.5, 3.5],
            "('ResNet-18 (batch size 16)', 1)": [0.0, 0.0],
        },
        "('A3C', 1)": {
            "null": 7,
            "('ResNet-18 (batch size 16)', 1)": [3.5, 2.5],
            "('A3C', 1)": [4, 4],
            "('A3C', 2)": [1, 1],
        },
        "('A3C', 2)": {"null": 13},
    },
    "v100_unconsolidated": {"('A3C', 1)": {"null": 6}},
}
PARVAGPU = """\
model,mig_gpcs,batch,n_processes,throughput_per_process,latency_s,feasible
bert,1,4,1,80,0.05,1
bert,7,4,3,200,0.02,1
bert,1,64,5,0,0,0
"""
SPLITWISE = """\
model,hardware,prompt_size,batch_size,token_size,peak_power,average_power,prompt_time,token_time,\
e2e_time,tensor_parallel
llama2-70b,a100-80gb,512,2,128,1,0.7,200,50,7000,4
llama2-70b,a100-80gb,512,2,128,1,0.7,210,55,7000,4
"""
PODS = """\
name,cpu_milli,memory_mib,num_gpu,gpu_milli,gpu_spec,qos,pod_phase,creation_time,deletion_time,\
scheduled_time
p-1,12000,16384,1,1000,,LS,Running,50,900,60
p-0,6000,1024,1,460,V100M16|V100M32,BE,Pending,10,500,
"""
NODES = """\
sn,cpu_milli,memory_mib,gpu,model
n-0,64000,262144,2,P100
"""
PHILLY = """\
timestamp,duration,num_gpus,gpu_time,cluster
2017-10-07 01:11:39,100.0,8,800.0,ee9e8c
2017-10-07 01:11:09,50.0,1,50.0,6c71a0
"""
MURI = """\
model_name,batch_size,num_gpu,iteration_time,resource_time_0,resource_time_1,resource_time_2
a2c,64,2,525,504.0,14,0.5
"""
AZURE = """\
TIMESTAMP,ContextTokens,GeneratedTokens
2023-11-16 18:15:46.6805900,374,44
2023-11-16 18:15:50.9951690,396,109
"""
SERVEGEN = """\
workload,client,window_start_s,rate_req_s,interarrival_cv,pattern
m-small,3,600,0.5,1.5,Gamma
m-small,3,1200,0.0,0.0,
"""


def lines(objects: list[dict[str, Any]]) -> str:
    """Return objects as JSON, one on each line."""
    return "\n".join(map(json.dumps, objects))
